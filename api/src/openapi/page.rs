//! The OpenAPI document as a page: plain HTML and one style sheet, without files from other
//! servers. Where the api serves the web page, its script `reference.js` replaces the content
//! by an interactive reference.

use std::fmt::Write as _;

use serde_json::Value;

/// Style sheet of the page.
pub const STYLE: &str = include_str!("page.css");

/// Script of the interactive reference, relative to the page.
const SCRIPT: &str = "../reference.js";

/// Returns the page. `style` and `source` are the addresses of its style sheet and of the document.
#[must_use]
pub fn render(document: &Value, style: &str, source: &str) -> String {
    let info = &document["info"];
    let mut page = Page(String::with_capacity(64 * 1024));
    page.raw("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><link rel=icon href=\"../favicon.svg\">");
    page.raw(&format!(
        "<title>{title} API</title><link rel=stylesheet href=\"{style}\"><script type=module src=\"{SCRIPT}\"></script>",
        title = escaped(&info["title"])
    ));
    page.raw("<header>")
        .element("h1", &text(&info["title"]))
        .element("p", &format!("Version {}", text(&info["version"])));
    for paragraph in text(&info["description"]).split("\n\n") {
        page.element("p", paragraph);
    }
    page.raw(&format!("<p><a href=\"{source}\">openapi.json</a></header><main>"));
    let operations = operations(document);
    page.contents(&operations);
    for operation in &operations {
        page.operation(operation);
    }
    page.raw("<h2>Schemas</h2>");
    for (name, schema) in entries(&document["components"]["schemas"]) {
        page.raw(&format!("<details id=\"schema-{0}\"><summary>{0}</summary>", escape(name)));
        page.json(schema).raw("</details>");
    }
    page.raw("</main></html>");
    page.0
}

/// One operation of the document.
struct PageOperation<'a> {
    path: &'a str,
    method: String,
    content: &'a Value,
}

impl PageOperation<'_> {
    fn tag(&self) -> &str {
        self.content["tags"][0].as_str().unwrap_or_default()
    }

    fn anchor(&self) -> String {
        format!("{} {}", self.method, self.path).replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    }
}

fn operations(document: &Value) -> Vec<PageOperation<'_>> {
    let of_path = |(path, item)| {
        entries(item).map(move |(method, content)| PageOperation { path, method: method.to_uppercase(), content })
    };
    let mut all: Vec<_> = entries(&document["paths"]).flat_map(of_path).collect();
    all.sort_by(|a, b| a.tag().cmp(b.tag()));
    all
}

struct Page(String);

impl Page {
    fn raw(&mut self, html: &str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    fn element(&mut self, name: &str, content: &str) -> &mut Self {
        // Writing to a `String` never fails.
        let _ = write!(self.0, "<{name}>{}</{name}>", escape(content));
        self
    }

    fn json(&mut self, value: &Value) -> &mut Self {
        self.element("pre", &serde_json::to_string_pretty(value).unwrap_or_default())
    }

    fn contents(&mut self, operations: &[PageOperation<'_>]) {
        self.raw("<nav>");
        let mut tag = "";
        for operation in operations {
            if operation.tag() != tag {
                tag = operation.tag();
                self.element("h2", tag);
            }
            self.raw(&format!("<a href=\"#{}\">", operation.anchor()));
            self.element("b", &operation.method).element("code", operation.path).raw("</a>");
        }
        self.raw("</nav>");
    }

    fn operation(&mut self, operation: &PageOperation<'_>) {
        let content = operation.content;
        self.raw(&format!("<section id=\"{}\"><h2>", operation.anchor()));
        self.element("b", &operation.method).element("code", operation.path).raw("</h2>");
        self.element("p", &text(&content["summary"])).element("p", access(&content["security"]));
        let parameters = content["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        if !parameters.is_empty() {
            self.raw("<h3>Parameters</h3><table>");
            for parameter in parameters {
                self.raw("<tr>").element("th", &text(&parameter["name"])).element("td", &text(&parameter["in"]));
                self.raw("<td>").element("code", &parameter["schema"].to_string()).raw("</td></tr>");
            }
            self.raw("</table>");
        }
        let body = &content["requestBody"]["content"]["application/json"];
        if body.is_object() {
            self.raw("<h3>Body</h3>").json(&body["example"]).folded("Schema", &body["schema"]);
        }
        for (status, answer) in entries(&content["responses"]) {
            self.answer(status, answer);
        }
        self.raw("</section>");
    }

    fn answer(&mut self, status: &str, answer: &Value) {
        self.raw("<details><summary>").element("b", status);
        self.element("span", &text(&answer["description"]).replace('`', "")).raw("</summary>");
        for (kind, content) in entries(&answer["content"]) {
            self.element("p", kind);
            let examples = entries(&content["examples"]).map(|(_, example)| &example["value"]);
            for example in examples.chain(content.get("example")) {
                self.json(example);
            }
            if content["schema"].is_object() {
                self.folded("Schema", &content["schema"]);
            }
        }
        self.raw("</details>");
    }

    fn folded(&mut self, title: &str, value: &Value) {
        self.raw("<details>").element("summary", title).json(value).raw("</details>");
    }
}

fn access(security: &Value) -> &'static str {
    let schemes = security.as_array().map_or(&[][..], Vec::as_slice);
    if schemes.iter().any(|scheme| scheme.get("appKey").is_some()) {
        return "Needs an API key of an app.";
    }
    match (schemes.len(), schemes.iter().any(|scheme| scheme.as_object().is_some_and(serde_json::Map::is_empty))) {
        (0, _) => "Public.",
        (_, true) => "Public; a token identifies the caller.",
        (_, false) => "Needs a token.",
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn escaped(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

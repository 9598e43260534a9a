// The reference at /api/docs: Swagger UI over the OpenAPI document, with a search and "Try it out".
// Without scripts, or without the files in vendor/, the page keeps the plain reference that the api
// wrote into it.
const vendor = (name) => new URL(`vendor/${name}`, import.meta.url).href;

/** Returns whether an operation has these words in its path, its name or its summary. */
const fits = (operation, words) => {
  const about = [operation.get("method"), operation.get("path")];
  about.push(...["operationId", "summary"].map((field) => operation.getIn(["operation", field])));
  const text = about.join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
};

/** Searches operations. Swagger UI by itself searches the names of the groups alone. */
const search = () => ({
  fn: {
    opsFilter: (groups, phrase) => {
      const words = phrase.toLowerCase().split(/\s+/);
      return groups
        .map((group) => group.update("operations", (operations) => operations.filter((each) => fits(each, words))))
        .filter((group) => group.get("operations").size > 0);
    },
  },
});

function show() {
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: vendor("swagger-ui.css") });
  const place = document.createElement("main");
  style.addEventListener("load", () => {
    document.querySelector('link[href$="docs.css"]')?.remove();
    document.body.replaceChildren(place);
  });
  window.SwaggerUIBundle({
    domNode: place,
    url: new URL("openapi.json", location.href).href,
    plugins: [search],
    filter: true,
    tryItOutEnabled: true,
    deepLinking: true,
    docExpansion: "list",
    // The badge of a validator would ask a server of others.
    validatorUrl: null,
  });
  document.head.append(style);
}

const script = Object.assign(document.createElement("script"), { src: vendor("swagger-ui-bundle.js") });
script.addEventListener("load", show);
document.head.append(script);

//! Reads the paths that Rust source text names: grouped imports, over several lines, and paths in
//! expressions and types. It knows no macros and no types, only tokens.

/// A path that the text names, and the line on which it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Segments; the last one is `*` for a glob.
    pub(crate) path: Vec<String>,
    /// Name under which the path is known afterwards, for an import that has one.
    pub(crate) name: Option<String>,
    /// Whether a `pub use` or `pub(...) use` passes it on.
    pub(crate) exported: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Separator,
    Sign(char),
}

/// All paths of more than one segment, and every path of a `use`. Modules under `#[cfg(test)]` are
/// left out. In an inline module, `super` and `self` are resolved against the file.
pub(crate) fn imports(text: &str) -> Vec<Import> {
    Reader { tokens: tokens(text), at: 0, found: Vec::new(), inline: Vec::new(), depth: 0 }.read()
}

/// The modules that the text declares with `mod name;`, without those under `#[cfg(test)]`.
pub(crate) fn declared_modules(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut declared = Vec::new();
    for (at, window) in tokens.windows(3).enumerate() {
        if let [(Token::Word(keyword), _), (Token::Word(name), _), (Token::Sign(';'), _)] = window
            && keyword == "mod"
            && !is_test(&tokens[..at])
        {
            declared.push(name.clone());
        }
    }
    declared
}

/// Whether the item after these tokens is under `#[cfg(test)]`.
fn is_test(before: &[(Token, usize)]) -> bool {
    let start = before.iter().rposition(|(token, _)| matches!(token, Token::Sign(';' | '{' | '}')));
    let item = &before[start.map_or(0, |at| at + 1)..];
    item.windows(3).any(|window| {
        matches!(window, [(Token::Word(cfg), _), (Token::Sign('('), _), (Token::Word(test), _)]
            if cfg == "cfg" && test == "test")
    })
}

struct Reader {
    tokens: Vec<(Token, usize)>,
    at: usize,
    found: Vec<Import>,
    /// Brace depth at which each open inline module began.
    inline: Vec<usize>,
    depth: usize,
}

impl Reader {
    fn read(mut self) -> Vec<Import> {
        while let Some((token, line)) = self.tokens.get(self.at).cloned() {
            match token {
                Token::Word(word) if word == "mod" && self.sign(2) == Some('{') => {
                    if is_test(&self.tokens[..self.at]) {
                        self.at += 2;
                        self.skip_block();
                    } else {
                        self.inline.push(self.depth);
                        self.at += 2;
                    }
                }
                Token::Word(word) if word == "use" => {
                    let exported = self.is_exported();
                    self.at += 1;
                    self.tree(&mut Vec::new(), exported);
                }
                Token::Word(_) => self.path(line),
                Token::Sign(sign) => {
                    if sign == '{' {
                        self.depth += 1;
                    } else if sign == '}' {
                        self.depth = self.depth.saturating_sub(1);
                        self.inline.pop_if(|began| *began == self.depth);
                    }
                    self.at += 1;
                }
                Token::Separator => self.at += 1,
            }
        }
        self.found
    }

    fn sign(&self, ahead: usize) -> Option<char> {
        match self.tokens.get(self.at + ahead) {
            Some((Token::Sign(sign), _)) => Some(*sign),
            _ => None,
        }
    }

    fn word(&self) -> Option<String> {
        match self.tokens.get(self.at) {
            Some((Token::Word(word), _)) => Some(word.clone()),
            _ => None,
        }
    }

    fn is_separator(&self) -> bool {
        matches!(self.tokens.get(self.at), Some((Token::Separator, _)))
    }

    /// `pub use` and `pub(crate) use`.
    fn is_exported(&self) -> bool {
        match self.at.checked_sub(1).and_then(|at| self.tokens.get(at)) {
            Some((Token::Word(word), _)) => word == "pub",
            Some((Token::Sign(')'), _)) => true,
            _ => false,
        }
    }

    fn skip_block(&mut self) {
        let mut depth = 0_usize;
        while let Some((token, _)) = self.tokens.get(self.at) {
            self.at += 1;
            match token {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// A use tree: a path, a glob, a group of trees, or a path with another name.
    fn tree(&mut self, prefix: &mut Vec<String>, exported: bool) {
        let length = prefix.len();
        let line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
        loop {
            if self.is_separator() {
                self.at += 1;
            } else if self.sign(0) == Some('{') {
                self.at += 1;
                while self.at < self.tokens.len() && self.sign(0) != Some('}') {
                    self.tree(prefix, exported);
                    if self.sign(0) == Some(',') {
                        self.at += 1;
                    }
                }
                self.at += 1;
                break;
            } else if self.sign(0) == Some('*') {
                self.at += 1;
                self.add(line, [prefix.as_slice(), &["*".to_owned()]].concat(), None, exported);
                break;
            } else if let Some(word) = self.word() {
                self.at += 1;
                // `use a::{self, b}` names `a`.
                if word != "self" || prefix.is_empty() {
                    prefix.push(word);
                }
                if self.is_separator() {
                    continue;
                }
                let mut name = prefix.last().cloned();
                if self.word().as_deref() == Some("as") {
                    self.at += 1;
                    name = self.word();
                    self.at += 1;
                }
                self.add(line, prefix.clone(), name, exported);
                break;
            } else {
                // Not a use tree: a macro's pattern. Go on after it.
                self.at += 1;
                break;
            }
        }
        prefix.truncate(length);
    }

    /// A path in an expression or a type.
    fn path(&mut self, line: usize) {
        let mut path = Vec::new();
        while let Some(word) = self.word() {
            path.push(word);
            self.at += 1;
            if !self.is_separator() {
                break;
            }
            self.at += 1;
        }
        if path.len() > 1 {
            self.add(line, path, None, false);
        }
    }

    fn add(&mut self, line: usize, mut path: Vec<String>, name: Option<String>, exported: bool) {
        let mut levels = self.inline.len();
        while levels > 0 && path.first().is_some_and(|first| first == "super") {
            levels -= 1;
            if levels > 0 || path.get(1).is_some_and(|second| second == "super") {
                path.remove(0);
            } else {
                "self".clone_into(&mut path[0]);
            }
        }
        self.found.push(Import { line, path, name, exported });
    }
}

/// Words, `::` and signs, without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '"' => string(rest),
            '\'' => character(rest),
            _ if first.is_alphabetic() || first == '_' => {
                let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let after = &rest[length..];
                let raw = ["r", "br", "cr"].contains(&&rest[..length]) && after.starts_with(['"', '#']);
                if raw && after.trim_start_matches('#').starts_with('"') {
                    length + raw_string(after)
                } else {
                    tokens.push((Token::Word(rest[..length].to_owned()), line));
                    length
                }
            }
            ':' if rest.starts_with("::") => {
                tokens.push((Token::Separator, line));
                2
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push((Token::Sign(first), line));
                }
                first.len_utf8()
            }
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// Length of a block comment, which may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    text[hashes + 1..].find(&end).map_or(text.len(), |at| hashes + 1 + at + end.len())
}

/// Length of a character, or of the quote of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(text.len(), |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

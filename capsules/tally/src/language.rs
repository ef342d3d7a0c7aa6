//! Which language a file is written in, and what its comments look like.

pub struct Language {
    pub name: &'static str,
    /// Names of whole files, and endings that begin with a dot.
    files: &'static [&'static str],
    /// What begins a comment that ends with the line.
    pub line: &'static [&'static str],
    /// What begins and ends a comment that may span lines.
    pub block: Option<(&'static str, &'static str)>,
    /// Whether block comments contain block comments.
    pub nests: bool,
    /// What begins and ends a text, in which nothing is a comment.
    pub quotes: &'static [u8],
}

const C_BLOCK: Option<(&str, &str)> = Some(("/*", "*/"));
const XML_BLOCK: Option<(&str, &str)> = Some(("<!--", "-->"));

const fn language(
    name: &'static str,
    files: &'static [&'static str],
    line: &'static [&'static str],
    block: Option<(&'static str, &'static str)>,
    quotes: &'static [u8],
) -> Language {
    Language { name, files, line, block, nests: false, quotes }
}

const fn nesting(mut language: Language) -> Language {
    language.nests = true;
    language
}

/// No quote is listed where the character also has another meaning, as `'` has in Rust.
#[rustfmt::skip]
static LANGUAGES: &[Language] = &[
    language("Assembly", &[".s", ".S", ".asm"], &[";", "#"], C_BLOCK, b"\""),
    language("C", &[".c"], &["//"], C_BLOCK, b"\"'"),
    language("C header", &[".h"], &["//"], C_BLOCK, b"\"'"),
    language("C#", &[".cs"], &["//"], C_BLOCK, b"\"'"),
    language("C++", &[".cc", ".cpp", ".cxx", ".hh", ".hpp"], &["//"], C_BLOCK, b"\""),
    language("CMake", &["CMakeLists.txt", ".cmake"], &["#"], None, b"\""),
    language("CSS", &[".css"], &[], C_BLOCK, b"\"'"),
    language("Cedar", &[".cedar"], &["//"], None, b"\""),
    language("Dockerfile", &["Dockerfile", "Containerfile"], &["#"], None, b""),
    language("Go", &[".go"], &["//"], C_BLOCK, b"\"'`"),
    language("HTML", &[".html", ".htm"], &[], XML_BLOCK, b""),
    nesting(language("Haskell", &[".hs"], &["--"], Some(("{-", "-}")), b"\"")),
    language("JSON", &[".json"], &[], None, b"\""),
    language("Java", &[".java"], &["//"], C_BLOCK, b"\"'"),
    language("JavaScript", &[".js", ".mjs", ".cjs", ".jsx"], &["//"], C_BLOCK, b"\"'`"),
    language("Just", &["justfile", "Justfile", ".just"], &["#"], None, b"\""),
    nesting(language("Kotlin", &[".kt", ".kts"], &["//"], C_BLOCK, b"\"")),
    language("Lua", &[".lua"], &["--"], Some(("--[[", "]]")), b"\"'"),
    language("Makefile", &["Makefile", "makefile", "GNUmakefile", ".mk"], &["#"], None, b""),
    language("Markdown", &[".md", ".markdown"], &[], XML_BLOCK, b""),
    language("Nix", &[".nix"], &["#"], C_BLOCK, b"\""),
    language("PHP", &[".php"], &["//", "#"], C_BLOCK, b"\"'"),
    language("Perl", &[".pl", ".pm"], &["#"], None, b"\"'"),
    language("Protocol Buffers", &[".proto"], &["//"], C_BLOCK, b"\"'"),
    language("Python", &[".py", ".pyi"], &["#"], None, b"\"'"),
    language("Ruby", &[".rb", "Rakefile", "Gemfile"], &["#"], Some(("=begin", "=end")), b"\"'"),
    nesting(language("Rust", &[".rs"], &["//"], C_BLOCK, b"\"")),
    language("SQL", &[".sql"], &["--"], C_BLOCK, b"'"),
    nesting(language("Scala", &[".scala"], &["//"], C_BLOCK, b"\"")),
    language("Shell", &[".sh", ".bash", ".zsh"], &["#"], None, b"\"'"),
    nesting(language("Swift", &[".swift"], &["//"], C_BLOCK, b"\"")),
    language("TOML", &[".toml"], &["#"], None, b"\"'"),
    language("Text", &[".txt"], &[], None, b""),
    language("TypeScript", &[".ts", ".tsx", ".mts"], &["//"], C_BLOCK, b"\"'`"),
    language("WIT", &[".wit"], &["//"], C_BLOCK, b""),
    nesting(language("WebAssembly text", &[".wat", ".wast"], &[";;"], Some(("(;", ";)")), b"\"")),
    language("XML", &[".xml", ".svg"], &[], XML_BLOCK, b""),
    language("YAML", &[".yaml", ".yml"], &["#"], None, b"\"'"),
    language("Zig", &[".zig"], &["//"], None, b"\""),
];

/// The language of a file with this name, if it is a known one.
pub fn of(name: &str) -> Option<&'static Language> {
    let ending = name.rfind('.').filter(|&dot| dot > 0).map(|dot| &name[dot..]);
    LANGUAGES.iter().find(|language| {
        language.files.iter().any(|&file| match file.starts_with('.') {
            true => ending == Some(file),
            false => name == file,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(file: &str) -> Option<&'static str> {
        of(file).map(|language| language.name)
    }

    #[test]
    fn a_file_is_known_by_its_ending_or_by_its_whole_name() {
        assert_eq!(name_of("main.rs"), Some("Rust"));
        assert_eq!(name_of("a.b.py"), Some("Python"));
        assert_eq!(name_of("Makefile"), Some("Makefile"));
        assert_eq!(name_of("makefile.orig"), None);
    }

    #[test]
    fn a_name_that_is_nothing_but_an_ending_is_not_known() {
        assert_eq!(name_of(".rs"), None);
        assert_eq!(name_of(""), None);
        assert_eq!(name_of("."), None);
    }
}

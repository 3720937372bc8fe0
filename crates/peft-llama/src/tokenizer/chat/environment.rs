//! What chat templates may use, as in transformers.

use std::fmt::Write;

use chrono::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

/// 26 July 2024 in seconds since 1970: the date that Llama 3.1's template falls back to.
pub const DEFAULT_TIME: i64 = 1_721_952_000;

/// Instructions a rendering may take. A conversation of a thousand turns takes some 10⁵.
const FUEL: u64 = 20_000_000;

/// An environment without a template.
pub fn new() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(print);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", raise_exception);
    set_time(&mut environment, DEFAULT_TIME);
    Ok(environment)
}

/// Makes `strftime_now` tell `seconds` since 1970, in UTC.
pub fn set_time(environment: &mut Environment<'static>, seconds: i64) {
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    environment.add_function("strftime_now", move |format: String| {
        let mut text = String::new();
        match write!(text, "{}", time.format(&format)) {
            Ok(()) => Ok(text),
            Err(_) => {
                let reason = format!("`{format}` is no format of a date");
                Err(Error::new(ErrorKind::InvalidOperation, reason))
            }
        }
    });
}

/// The template's own words where it raised an exception, else the kind of error; with the line.
pub fn explain(error: &Error) -> String {
    let line = error.line().map_or(String::new(), |line| format!("line {line}: "));
    match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation, Some(detail)) => format!("{line}{detail}"),
        (ErrorKind::OutOfFuel, _) => format!("{line}it takes too long"),
        (kind, Some(detail)) => format!("{line}{kind}: {detail}"),
        (kind, None) => format!("{line}{kind}"),
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// Prints constants as Python does.
fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let python = match value.kind() {
        ValueKind::None => "None",
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        _ => return escape_formatter(out, state, value),
    };
    out.write_str(python).map_err(Error::from)
}

/// Python's `json.dumps`, which escapes nothing for HTML; `indent` is its only option here.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let indent = indent.map(|width| " ".repeat(width));
    let json = match &indent {
        Some(indent) => serialize(value, PrettyFormatter::with_indent(indent.as_bytes())),
        None => serialize(value, Spaced),
    };
    json.map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}

fn serialize(value: &Value, formatter: impl Formatter) -> Result<String, serde_json::Error> {
    let mut json = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut json, formatter))?;
    Ok(String::from_utf8_lossy(&json).into_owned())
}

/// Python's separators on one line: a space after each comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.begin_array_value(writer, first)
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String, Error> {
        new()?.render_str(source, ())
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let value = "{'b': [1, 'é<\"'], 'a': none, 'c': {}}";
        assert_eq!(
            render(&format!("{{{{ {value} | tojson }}}}")).unwrap(),
            r#"{"b": [1, "é<\""], "a": null, "c": {}}"#
        );
        assert_eq!(
            render("{{ {'a': [1, 2]} | tojson(indent=2) }}").unwrap(),
            "{\n  \"a\": [\n    1,\n    2\n  ]\n}"
        );
        assert!(render("{{ 1 | tojson(sort_keys=true) }}").is_err());
    }

    #[test]
    fn constants_are_printed_as_python_prints_them() {
        assert_eq!(
            render("{{ none }} {{ true }} {{ 1 == 2 }} {{ x }}").unwrap(),
            "None True False "
        );
    }

    #[test]
    fn the_time_is_the_one_set() {
        let format = "{{ strftime_now('%d %b %Y, %H:%M') }}";
        assert_eq!(render(format).unwrap(), "26 Jul 2024, 00:00");
        let mut environment = new().unwrap();
        set_time(&mut environment, 86_400 + 3_660);
        assert_eq!(environment.render_str(format, ()).unwrap(), "02 Jan 1970, 01:01");
        let error = render("{{ strftime_now('%!') }}").unwrap_err();
        assert_eq!(explain(&error), "line 1: `%!` is no format of a date");
    }

    #[test]
    fn errors_are_told_in_the_templates_words() {
        let error = render("\n{{ raise_exception('No system role!') }}").unwrap_err();
        assert_eq!(explain(&error), "line 2: No system role!");
        let endless =
            "{% for _ in range(99999) %}{% for _ in range(99999) %}{% endfor %}{% endfor %}";
        assert_eq!(explain(&render(endless).unwrap_err()), "line 1: it takes too long");
        assert_eq!(
            explain(&render("{{ 1 | nothing }}").unwrap_err()),
            "line 1: unknown filter: filter nothing is unknown"
        );
    }

    #[test]
    fn deep_templates_are_errors() {
        for source in [
            "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}".to_string(),
            format!("{{{{ {} }}}}", "(".repeat(10_000)),
            "{% if 1 %}".repeat(10_000),
        ] {
            assert!(render(&source).is_err());
        }
    }
}

//! What is wrong with a configuration, and where it was typed.

use std::fmt;
use std::path::PathBuf;

/// Where something was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// On a line of a file, counted from 1.
    Line(PathBuf, usize),
    /// In a `key=value` of the command line.
    CommandLine,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was typed; `None` for a configuration that was not.
    pub place: Option<Place>,
    /// What is wrong, with the key or file named.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Everything that is wrong, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The hint of the only problem. Those of several stand beside them in the text.
    pub fn hint(&self) -> Option<String> {
        match &self.0[..] {
            [only] => only.hint.clone(),
            _ => None,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return write!(f, "{only}");
        }
        write!(f, "{} problems", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_problems_are_listed_with_their_hints() {
        let problem = |place: Option<Place>, message: &str, hint: Option<&str>| Problem {
            place,
            message: message.into(),
            hint: hint.map(str::to_owned),
        };
        let one = Problems(vec![problem(Some(Place::CommandLine), "bad", Some("fix it"))]);
        assert_eq!(
            (one.to_string().as_str(), one.hint()),
            ("command line: bad", Some("fix it".into()))
        );
        let several = Problems(vec![
            problem(Some(Place::Line("run.toml".into(), 3)), "bad", Some("fix it")),
            problem(None, "worse", None),
        ]);
        let want = "2 problems\n  run.toml:3: bad\n    hint: fix it\n  worse";
        assert_eq!((several.to_string().as_str(), several.hint()), (want, None));
    }
}

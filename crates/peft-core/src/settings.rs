//! Settings of methods: declared with their defaults, read strictly.

use std::fmt::Display;

use serde::Deserialize;
use serde::de::{Error, MapAccess};

/// How alike two keys are, from 0 to 1, for one to be taken for a misspelling of the other.
const ALIKE: f64 = 0.8;

/// Declares a configuration with one setting that must be given and others with defaults: the
/// struct, `new`, a `with_…` for each default, and Burn's [`Config`](burn::config::Config).
///
/// Burn's derive of that name does the same, but what it reads may hold keys it does not know, and
/// must hold all it does. Here unknown keys are refused, absent ones have their defaults, and errors
/// name the key.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $(#[$given_attribute:meta])*
            $given:ident: $given_type:ty,
            $(
                $(#[$field_attribute:meta])*
                $field:ident: $type:ty = $default:expr,
            )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name {
            $(#[$given_attribute])*
            pub $given: $given_type,
            $(
                $(#[$field_attribute])*
                ///
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                pub $field: $type,
            )*
        }

        impl $name {
            #[doc = concat!("Defaults for all but `", stringify!($given), "`.")]
            pub fn new($given: $given_type) -> Self {
                Self { $given, $($field: $default,)* }
            }

            pastey::paste! {
                $(
                    #[doc = "Sets [`" $field "`](Self::" $field ")."]
                    #[must_use]
                    pub fn [<with_ $field>](self, $field: $type) -> Self {
                        Self { $field, ..self }
                    }
                )*
            }
        }

        impl burn::config::Config for $name {}

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&burn::config::config_to_json(self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Settings;

                impl<'de> serde::de::Visitor<'de> for Settings {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object of settings")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<$name, A::Error> {
                        use $crate::settings::{missing, set, unknown};
                        const KEYS: &[&str] = &[stringify!($given), $(stringify!($field)),*];
                        let mut $given: Option<$given_type> = None;
                        $(let mut $field: Option<$type> = None;)*
                        while let Some(key) = map.next_key::<String>()? {
                            match key.as_str() {
                                key if key == stringify!($given) => set(key, &mut $given, &mut map)?,
                                $(key if key == stringify!($field) => {
                                    set(key, &mut $field, &mut map)?
                                })*
                                key => return Err(unknown(key, KEYS)),
                            }
                        }
                        Ok($name {
                            $given: $given.ok_or_else(|| missing(stringify!($given)))?,
                            $($field: $field.unwrap_or_else(|| $default),)*
                        })
                    }
                }

                deserializer.deserialize_map(Settings)
            }
        }
    };
}

pub(crate) use settings;

/// Reads the value of `key` into `setting`.
pub(crate) fn set<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    key: &str,
    setting: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    let named = |problem: &dyn Display| A::Error::custom(format_args!("`{key}`: {problem}"));
    if setting.is_some() {
        return Err(named(&"is given twice"));
    }
    *setting = Some(map.next_value().map_err(|error| named(&error))?);
    Ok(())
}

pub(crate) fn missing<E: Error>(key: &str) -> E {
    E::custom(format_args!("`{key}`: is missing"))
}

pub(crate) fn unknown<E: Error>(key: &str, known: &[&str]) -> E {
    let likeness = |known: &&&str| strsim::jaro_winkler(key, known);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match nearest.filter(|known| likeness(known) > ALIKE) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("expected one of {}", known.join(", ")),
    };
    E::custom(format_args!("`{key}`: no such setting, {hint}"))
}

#[cfg(test)]
mod tests {
    use burn::config::Config;
    use serde_json::{Map, Value, json};

    use crate::adapter::adalora::AdaLoraConfig;
    use crate::adapter::lora::LoraConfig;
    use crate::adapter::losia::LosiaConfig;

    /// What every configuration must do.
    fn hold<C: Config + PartialEq>(defaults: C) {
        let Value::Object(all) = serde_json::to_value(&defaults).unwrap() else { panic!() };
        survives_json(&defaults);
        survives_json(&read::<C>(&unusual(&all)).unwrap());
        let least = Map::from_iter([("total_steps".to_string(), json!(10))]);
        assert_eq!(read::<C>(&least).unwrap(), defaults, "absent settings have their defaults");
        for key in all.keys() {
            misfits_are_named::<C>(key, &all);
        }
    }

    fn read<C: Config>(settings: &Map<String, Value>) -> Result<C, serde_json::Error> {
        serde_json::from_value(Value::Object(settings.clone()))
    }

    fn survives_json<C: Config + PartialEq>(config: &C) {
        let json = serde_json::to_string(config).unwrap();
        assert_eq!(serde_json::from_str::<C>(&json).unwrap(), *config);
    }

    /// Other values of the same types, with numbers whose last digit counts.
    fn unusual(settings: &Map<String, Value>) -> Map<String, Value> {
        let other = |(index, (key, value)): (usize, (&String, &Value))| {
            let value = match value {
                Value::Bool(flag) => json!(!flag),
                Value::Number(n) if n.is_u64() => json!(n.as_u64().unwrap() + (1 << 60) + 1),
                Value::Number(_) => json!((index as f64 + 0.1).sqrt() * 1e-5),
                Value::Null if key == "output_head" => json!("head.weight"),
                Value::Null if key == "exclude_modules" => json!(["a", "b"]),
                Value::Null => json!([3, 1]),
                Value::Object(entries) if entries.is_empty() => json!({"z.*": 7, "a": 3}),
                other => other.clone(),
            };
            (key.clone(), value)
        };
        settings.iter().enumerate().map(other).collect()
    }

    fn misfits_are_named<C: Config>(key: &str, all: &Map<String, Value>) {
        let refusal = |key: &str, value: Value| {
            let mut settings = all.clone();
            settings.insert(key.into(), value);
            let error = read::<C>(&settings).unwrap_err().to_string();
            let problem = error.strip_prefix(&format!("`{key}`: "));
            problem.unwrap_or_else(|| panic!("`{key}` is not named: {error}")).to_string()
        };
        let problem = refusal(key, json!({"?": []}));
        let is_type = ["invalid type", "unknown variant", "expected a list"];
        assert!(is_type.iter().any(|start| problem.starts_with(start)), "{key}: {problem}");
        let problem = refusal(&format!("{key}s"), json!(1));
        assert_eq!(problem, format!("no such setting, did you mean `{key}`?"));
    }

    #[test]
    fn configurations_are_read_as_written_and_no_other_way() {
        hold(LosiaConfig::new(10));
        hold(LoraConfig::new(10));
        hold(AdaLoraConfig::new(10));
    }

    #[test]
    fn what_is_missing_double_or_unlike_all_others_is_named() {
        let error = |json: &str| serde_json::from_str::<LoraConfig>(json).unwrap_err().to_string();
        assert!(error("{}").starts_with("`total_steps`: is missing"));
        assert!(error(r#"{"r": 1, "r": 2}"#).starts_with("`r`: is given twice"));
        let unlike = error(r#"{"zzz": 1}"#);
        assert!(unlike.starts_with("`zzz`: no such setting, expected one of total_steps, "));
        assert!(error("7").contains("expected an object of settings"));
    }

    #[test]
    fn the_order_of_patterns_is_kept() {
        let patterns = [("z".to_string(), 2), ("a".to_string(), 3)];
        let config = LoraConfig::new(1).with_rank_pattern(patterns.clone().into());
        let read: LoraConfig = serde_json::from_str(&config.to_string()).unwrap();
        assert!(read.rank_pattern.into_iter().eq(patterns), "the first that matches wins");
    }
}

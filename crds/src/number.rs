//! Whole numbers of fields that the schema calls `number`: `5`, and `5.0` as some tools write it.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// The schema of a whole number that may come as a float.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number" })
}

/// The schema of an optional whole number that may come as a float.
pub(crate) fn optional_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number" })
}

/// The schema of a list of whole numbers that may come as floats.
pub(crate) fn list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "number" } })
}

/// Reads a whole number.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(Whole)
}

/// Reads a whole number or nothing.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    deserializer.deserialize_option(Optional)
}

/// Reads a list of whole numbers.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    Ok(<Vec<Item> as serde::Deserialize>::deserialize(deserializer)?.into_iter().map(|item| item.0).collect())
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = i64;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<i64, E> {
        // Floats above 2^53 are not exact, and no field of ours means such a number.
        if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
            Ok(value as i64)
        } else {
            Err(E::invalid_value(Unexpected::Float(value), &self))
        }
    }
}

struct Optional;

impl<'de> Visitor<'de> for Optional {
    type Value = Option<i64>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a whole number")
    }

    fn visit_none<E: Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<i64>, D::Error> {
        whole(deserializer).map(Some)
    }
}

struct Item(i64);

impl<'de> serde::Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole(deserializer).map(Item)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[derive(Debug, serde::Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "super::optional")]
        one: Option<i64>,
        #[serde(default, deserialize_with = "super::list")]
        many: Vec<i64>,
    }

    #[test]
    fn whole_floats_are_whole_numbers() {
        let sample: Sample = serde_json::from_value(json!({"one": 5.0, "many": [1, 2.0, -3]})).unwrap();
        assert_eq!((sample.one, sample.many), (Some(5), vec![1, 2, -3]));
    }

    #[test]
    fn null_and_absence_are_nothing() {
        assert_eq!(serde_json::from_value::<Sample>(json!({"one": null})).unwrap().one, None);
        assert_eq!(serde_json::from_value::<Sample>(json!({})).unwrap().one, None);
    }

    #[test]
    fn fractions_words_and_giants_are_refused() {
        for bad in [json!(5.5), json!("5"), json!(1e300), json!(u64::MAX), json!([5]), json!(true)] {
            let error = serde_json::from_value::<Sample>(json!({ "one": bad })).unwrap_err().to_string();
            assert!(error.contains("a whole number"), "{error}");
        }
    }
}

//! Compares answers with the description that the server gives of them.

use serde_json::Value;

use crate::support::Server;

/// The served description.
pub(crate) struct Description(Value);

impl Description {
    pub(crate) async fn of(server: &Server) -> Self {
        let (status, text) = server.get_ops("/api/v1/openapi.json").await;
        assert_eq!(status, 200, "{text}");
        Self(serde_json::from_str(&text).unwrap())
    }

    /// Every path there is.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.0["paths"].as_object().unwrap().keys().cloned().collect()
    }

    /// The parameters of a path, by their names.
    pub(crate) fn parameters(&self, path: &str) -> Vec<String> {
        let all = self.0["paths"][path]["get"]["parameters"].as_array();
        let of_query = all.into_iter().flatten().filter(|parameter| parameter["in"] == "query");
        of_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Holds that `value` is what `path` is said to give.
    pub(crate) fn check(&self, path: &str, value: &Value) {
        let schema = &self.0["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        assert!(schema.is_object(), "{path} describes no answer");
        self.holds(schema, value, path).unwrap_or_else(|fault| panic!("{fault}\nin {value:#}"));
    }

    /// Holds that `value` is a problem.
    pub(crate) fn check_problem(&self, value: &Value) {
        let schema = &self.0["components"]["schemas"]["Problem"];
        self.holds(schema, value, "problem")
            .unwrap_or_else(|fault| panic!("{fault}\nin {value:#}"));
    }

    /// The part of JSON Schema that the description uses; anything else in it is a failure.
    fn holds(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        const KNOWN: [&str; 17] = [
            "$ref",
            "allOf",
            "oneOf",
            "type",
            "format",
            "properties",
            "required",
            "items",
            "enum",
            "description",
            "propertyNames",
            "additionalProperties",
            "minimum",
            "maximum",
            "title",
            "default",
            "example",
        ];
        for word in
            schema.as_object().ok_or_else(|| format!("{place}: no schema: {schema}"))?.keys()
        {
            assert!(KNOWN.contains(&word.as_str()), "{place}: `{word}` is not checked: {schema}");
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let named = self.0.pointer(reference.trim_start_matches('#'));
            let named = named.ok_or_else(|| format!("{place}: {reference} leads nowhere"))?;
            return self.holds(named, value, place);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.holds(part, value, place)?;
        }
        if let Some(one) = schema["oneOf"].as_array() {
            let faults: Vec<_> =
                one.iter().filter_map(|part| self.holds(part, value, place).err()).collect();
            if faults.len() + 1 != one.len() {
                return Err(format!("{place}: not one of {}: {faults:?}", one.len()));
            }
        }
        Self::holds_type(schema, value, place)?;
        if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
            return Err(format!("{place}: {value} is none of {words:?}"));
        }
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(member) = value.get(name) {
                self.holds(part, member, &format!("{place}.{name}"))?;
            }
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if value.get(name.as_str().unwrap()).is_none() {
                return Err(format!("{place}: {name} is missing"));
            }
        }
        if schema["items"].is_object() {
            for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                self.holds(&schema["items"], item, &format!("{place}[{number}]"))?;
            }
        }
        Ok(())
    }

    fn holds_type(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let types: Vec<_> = match &schema["type"] {
            Value::Null => return Ok(()),
            Value::Array(types) => types.iter().map(|name| name.as_str().unwrap()).collect(),
            one => vec![one.as_str().unwrap()],
        };
        let fits = types.iter().any(|name| match *name {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("{place}: type {other}"),
        });
        if !fits {
            return Err(format!("{place}: {value} is not of {types:?}"));
        }
        if schema["format"] == "date-time"
            && let Some(text) = value.as_str()
            && (text.parse::<jiff::Timestamp>().is_err() || !text.ends_with('Z'))
        {
            return Err(format!("{place}: {value} is no time in UTC"));
        }
        Ok(())
    }
}

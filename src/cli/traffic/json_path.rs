//! Changing a JSON body at a path such as `CallInfo.CallId` or `UserList[0].User_Account`.

use serde_json::{Map, Value};

/// Puts `new` at `path`. Members that are missing on the way are made; array elements must exist, or be the next one.
pub(crate) fn set(body: &mut Value, path: &str, new: Value) -> Result<(), String> {
    let place = steps(path)?.into_iter().try_fold(body, |place, step| step.enter(place));
    *place.map_err(|error| format!("`{path}`: {error}"))? = new;
    Ok(())
}

/// What stands at `path`.
pub(crate) fn get<'a>(body: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    steps(path).ok()?.into_iter().try_fold(body, |place, step| match step {
        Step::Member(name) => place.get_mut(name),
        Step::Element(index) => place.get_mut(index),
    })
}

#[derive(Debug)]
enum Step<'a> {
    Member(&'a str),
    Element(usize),
}

impl Step<'_> {
    fn enter<'v>(&self, place: &'v mut Value) -> Result<&'v mut Value, String> {
        match self {
            Self::Member(name) => {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                let members =
                    place.as_object_mut().ok_or("a value on the path is not an object")?;
                Ok(members.entry(*name).or_insert(Value::Null))
            }
            Self::Element(index) => {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                let elements =
                    place.as_array_mut().ok_or("the value before `[` is not an array")?;
                if *index == elements.len() {
                    elements.push(Value::Null);
                }
                let count = elements.len();
                elements.get_mut(*index).ok_or(format!("the array has {count} elements"))
            }
        }
    }
}

fn steps(path: &str) -> Result<Vec<Step<'_>>, String> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (name, mut choices) = part.split_at(part.find('[').unwrap_or(part.len()));
        if name.is_empty() {
            return Err(format!("`{path}`: expected a name, as in `CallInfo.CallId`"));
        }
        steps.push(Step::Member(name));
        while !choices.is_empty() {
            let (choice, rest) = choices
                .strip_prefix('[')
                .and_then(|open| open.split_once(']'))
                .ok_or_else(|| format!("`{path}`: expected an index, as in `UserList[0]`"))?;
            let index =
                choice.parse().map_err(|_| format!("`{path}`: `{choice}` is not an index"))?;
            steps.push(Step::Element(index));
            choices = rest;
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::traffic::json_path::*;

    #[test]
    fn a_value_is_set_where_the_path_leads() {
        let mut body = json!({"A": {"B": 1}, "L": [{"U": "x"}]});
        set(&mut body, "A.B", json!(2)).unwrap();
        set(&mut body, "L[0].U", json!("y")).unwrap();
        set(&mut body, "L[1].U", json!("z")).unwrap();
        set(&mut body, "N.M[0]", json!(true)).unwrap();
        assert_eq!(body, json!({"A": {"B": 2}, "L": [{"U": "y"}, {"U": "z"}], "N": {"M": [true]}}));
        assert_eq!(get(&mut body, "L[1].U"), Some(&mut json!("z")));
        assert_eq!(get(&mut body, "L[7].U"), None);
    }

    #[test]
    fn a_path_that_leads_nowhere_says_so() {
        let mut body = json!({"A": 1, "L": []});
        for (path, reason) in [
            ("A.B", "not an object"),
            ("A[0]", "not an array"),
            ("L[2]", "has 0 elements"),
            ("L[x]", "not an index"),
            ("L[0", "expected an index"),
            ("", "expected a name"),
        ] {
            let error = set(&mut body, path, json!(0)).unwrap_err();
            assert!(error.contains(reason), "{path}: {error}");
        }
    }
}

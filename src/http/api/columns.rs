//! The columns of a row type: the fields of its schema, in order.

use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// The names of the fields of `T`, those of its flattened parts included.
pub(crate) fn columns<T: ToSchema>() -> Vec<String> {
    let (mut parts, mut columns) = (Vec::new(), Vec::new());
    T::schemas(&mut parts);
    add(&T::schema(), &parts, &mut columns);
    columns
}

fn add(schema: &RefOr<Schema>, parts: &[(String, RefOr<Schema>)], columns: &mut Vec<String>) {
    match schema {
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next();
            if let Some((_, part)) = parts.iter().find(|(part, _)| Some(part.as_str()) == name) {
                add(part, parts, columns);
            }
        }
        RefOr::T(Schema::AllOf(all)) => {
            all.items.iter().for_each(|part| add(part, parts, columns));
        }
        RefOr::T(Schema::Object(object)) => columns.extend(object.properties.keys().cloned()),
        RefOr::T(_) => {}
    }
}

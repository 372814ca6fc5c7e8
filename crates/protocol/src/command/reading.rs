//! From a body's text to its type, as the rows of the registry name it.

use serde::de::DeserializeOwned;

use crate::body::decoded::Body;
use crate::command::description::Decoded;
use crate::json::typed;

/// Reads a body of the type that `into` takes.
pub(crate) fn read<T: DeserializeOwned>(
    json: &str,
    into: fn(T) -> Body,
) -> Result<Decoded, String> {
    let (body, misfits) = typed::read(json)?;
    Ok(Decoded { body: into(body), misfits: misfits.into_reason() })
}

/// The same of a body that its page's table has flat: where the object that the sample has is missing, its fields are
/// read from the top level.
pub(crate) fn read_flat<T: DeserializeOwned, P: DeserializeOwned>(
    json: &str,
    object: fn(&mut T) -> &mut Option<P>,
    into: fn(T) -> Body,
) -> Result<Decoded, String> {
    let (mut body, mut misfits) = typed::read(json)?;
    if object(&mut body).is_none() {
        let (flat, more) = typed::read(json)?;
        *object(&mut body) = Some(flat);
        misfits = misfits.and(more);
    }
    Ok(Decoded { body: into(body), misfits: misfits.into_reason() })
}

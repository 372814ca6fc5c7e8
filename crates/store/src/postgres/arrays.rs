//! Binding rows to PostgreSQL statements: one array for each column, unpacked by the statement.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

use protocol::UnixMillis;

/// A time as PostgreSQL sends it: µs since 2000.
pub(crate) struct Moment(pub(crate) UnixMillis);

/// 2000-01-01 in ms since 1970.
const EPOCH_MS: i64 = 946_684_800_000;

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.0.saturating_sub(EPOCH_MS).saturating_mul(1000);
        Encode::<Postgres>::encode(micros, buffer)
    }
}

/// How a statement unpacks the arrays into rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken {
    /// By index into each array. Setup costs next to nothing, but each text element is found by walking its array
    /// from the start.
    ByPlace,
    /// By `unnest` of all arrays. Setup costs some µs for each array, of which a batch has about a hundred.
    Unnested,
}

/// Up to this number of rows indexing is used. Slightly above it both are equally fast.
const FEW: usize = 200;

impl Taken {
    /// The faster way for this number of rows.
    pub(crate) fn of(rows: usize) -> Self {
        if rows <= FEW { Self::ByPlace } else { Self::Unnested }
    }

    /// The expressions of the columns' values, and the `from` item to select them from. The arrays are bound in the
    /// order of `columns`, the first as parameter `first`.
    pub(crate) fn out_of(self, columns: &[ArrayOf], first: usize) -> (Vec<String>, String) {
        let array = |place: usize, column: &ArrayOf| format!("${place}::{}[]", column.bound);
        let arrays: Vec<String> =
            (first..).zip(columns).map(|(place, column)| array(place, column)).collect();
        let value = |(array, column): (&String, &ArrayOf)| {
            let value = match self {
                Self::ByPlace => format!("({array})[place]"),
                Self::Unnested => format!("batch.{}", column.name),
            };
            if column.kept == column.bound { value } else { format!("{value}::{}", column.kept) }
        };
        let values = arrays.iter().zip(columns).map(value).collect();
        let rows = match self {
            Self::ByPlace => {
                let first = arrays.first().map_or("'{}'::text[]", String::as_str);
                format!("generate_subscripts({first}, 1) as place")
            }
            Self::Unnested => {
                let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
                format!("unnest({}) as batch ({})", arrays.join(", "), names.join(", "))
            }
        };
        (values, rows)
    }
}

/// A column bound as an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArrayOf {
    pub(crate) name: &'static str,
    /// The element type of the array.
    pub(crate) bound: &'static str,
    /// The type of the column.
    pub(crate) kept: &'static str,
}

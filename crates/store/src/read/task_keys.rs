//! Several tasks in one statement.

use crate::sql::builder::Statement;

/// A task: its app and its id.
pub(crate) type Key = (i64, String);

/// The condition that a row is of one of these apps, and of one of these tasks. SQLite searches the index of a view's table by this
/// form alone. A task of another app may have the same id, so readers pick by the key.
pub(crate) fn any_of(sql: &mut Statement, keys: &[Key]) {
    let mut apps: Vec<i64> = keys.iter().map(|(app, _)| *app).collect();
    apps.sort_unstable();
    apps.dedup();
    sql.push("sdk_app_id in ").numbers(&apps);
    sql.push(" and task_id in ").texts(keys.iter().map(|(_, task_id)| task_id.as_str()));
}

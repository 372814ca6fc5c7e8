//! The migrations of both databases, as they are in the folder `migrations`.
//!
//! Not by `sqlx::migrate!`: its procedural macros compile both drivers, and SQLite itself, once more for the build.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Number, name and SQL.
type File = (i64, &'static str, &'static str);

const POSTGRES: [File; 11] = [
    (1, "events", include_str!("../migrations/postgres/0001_events.sql")),
    (2, "read models", include_str!("../migrations/postgres/0002_read_models.sql")),
    (3, "views", include_str!("../migrations/postgres/0003_views.sql")),
    (4, "rebuilds", include_str!("../migrations/postgres/0004_rebuilds.sql")),
    (5, "rtc tasks", include_str!("../migrations/postgres/0005_rtc_tasks.sql")),
    (6, "event signature", include_str!("../migrations/postgres/0006_event_signature.sql")),
    (7, "rtc rooms", include_str!("../migrations/postgres/0007_rtc_rooms.sql")),
    (8, "feed", include_str!("../migrations/postgres/0008_feed.sql")),
    (9, "recordings", include_str!("../migrations/postgres/0009_recordings.sql")),
    (10, "forwarding", include_str!("../migrations/postgres/0010_forwarding.sql")),
    (12, "replays", include_str!("../migrations/postgres/0012_replays.sql")),
];
const SQLITE: [File; 11] = [
    (1, "events", include_str!("../migrations/sqlite/0001_events.sql")),
    (2, "read models", include_str!("../migrations/sqlite/0002_read_models.sql")),
    (3, "views", include_str!("../migrations/sqlite/0003_views.sql")),
    (4, "rebuilds", include_str!("../migrations/sqlite/0004_rebuilds.sql")),
    (5, "rtc tasks", include_str!("../migrations/sqlite/0005_rtc_tasks.sql")),
    (6, "event signature", include_str!("../migrations/sqlite/0006_event_signature.sql")),
    (7, "rtc rooms", include_str!("../migrations/sqlite/0007_rtc_rooms.sql")),
    (8, "feed", include_str!("../migrations/sqlite/0008_feed.sql")),
    (9, "recordings", include_str!("../migrations/sqlite/0009_recordings.sql")),
    (10, "forwarding", include_str!("../migrations/sqlite/0010_forwarding.sql")),
    (12, "replays", include_str!("../migrations/sqlite/0012_replays.sql")),
];

/// Those of PostgreSQL.
pub(crate) fn postgres() -> Migrator {
    migrator(&POSTGRES)
}

/// Those of SQLite.
pub(crate) fn sqlite() -> Migrator {
    migrator(&SQLITE)
}

fn migrator(files: &[File]) -> Migrator {
    let migrations = files.iter().map(|(number, name, sql)| {
        Migration::new(*number, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A database remembers the checksums of the migrations that made it, and is refused when one is another: a migration
    /// that was released never changes.
    const CHECKSUMS: [(&str, [&str; 10]); 2] = [
        (
            "postgres",
            [
                "56d75c9409eb77a14a83de6e64caa9bc69f445b85e34c374a186707682f55abbec75534ec559e4220f50b217071e43f6",
                "a9b1e775da608269d564665e77cac05fd507c41bf3f7ae6a291f016c12ddd549ec129cb2ad707f0354ef10f3a5185102",
                "becdfdb4ccf05c996126fc99d90697f029e7fe09b8055eeee23bd60adede11e5e65867997f3f347b4a10815488ea7afd",
                "e72acf6f7a58d4232375d1e908c55ef7311693f02353f41ba6aba6633ecc47a668084f71119bc4effc98a0769dda8150",
                "efcd6bda3bf2203b9adbb2db4e9205277c0eb00956e4f561aa3a7e6053b8af3b9751e1e59fb22edefa0aabc92d6edd74",
                "abf122b9bb888fa5f5a066be273c789c21652062a823f05d43a82f211ebfbee3b58ff16b57a31ac597191ff36f46a5e2",
                "b569a5049e0c717a4b2c88e45ab59df7c80e282f7b21b5b184ad150bd5691a43660e679be0be126b2847a73c7df9f248",
                "648551e24dbe338c69caf8d0a83fe4a908dc484c33aee7d66449fc31dfe3e0a5e20c13403bf18fa20826a859993b23af",
                "98992d6129482d8ad0dd10925c1b91cf651e45ec6772e63cdaf5311d37dca3ab1390b622646a027cd86631588e7e9cd0",
                "76cd02d151e50e908feed74ae1ee33783e39890d3d076c3fef69338c5a2bc5dd0001d148ee78bd586fb1bc51faffb2cd",
            ],
        ),
        (
            "sqlite",
            [
                "aed3a5ae6ab0504beac4bc9545c5148681f3c880a36fa24f6328c0202795ae5685b5265b2e0b87c849c1bec47b6f6829",
                "1ac3f618da41abc7b00d82894c5cb5a0299fc34a529486a09ad1a6a3d949bdfb6c6fc45d6639e1e2b8843ad4af1f4589",
                "03862431a367efd5bdfbd9351ec40166f0740a265b358e1921feea5f061aa7087ffbc98f2fa87d5b385bc485bb1730e5",
                "97922c7d7a075cae91eacf873bdff2e2966f0d4eab8259bb1bcd465828e05cf2483955bd6f061a45ce867a7d1c41375c",
                "18f0c6230ac7869bacb392dede6698c087e10f6c508c319e40dce886fb102d559bbf77ddd1d4fe874ea7ba61d4ff66cf",
                "abf122b9bb888fa5f5a066be273c789c21652062a823f05d43a82f211ebfbee3b58ff16b57a31ac597191ff36f46a5e2",
                "65626baf2007ab263772022dd728907e91ebacba90d5bf2ca5f948bb6f9c6ffa6aba0b71baf5bfd72e0dd3a1326a291a",
                "c9a62ef5228c7561c854050949bd015f49e42b86b3b319fa32810c56210e5e97c5a14d2b9e67db92adf4951192e6d9ea",
                "fc759dc9a09f90fb4fe9ef2c0b68b8092f44c2d53b343fd83c94759d3648fd324a3b3e581ab144885e65e5bc5496d3ab",
                "ea49aac0f4ce99286e1facd84d46f2ba6a913e880bbb345c95d627ae525dd5d57ba04a74c68aa7e79563e779079e0e10",
            ],
        ),
    ];

    fn ours(database: &str) -> Migrator {
        if database == "postgres" { postgres() } else { sqlite() }
    }

    #[test]
    fn migrations_keep_their_checksums() {
        for (database, checksums) in CHECKSUMS {
            let ours = ours(database);
            let ours: Vec<String> = ours.iter().map(|it| hex::encode(&it.checksum)).collect();
            assert_eq!(ours[..checksums.len()], checksums, "{database}");
        }
    }

    /// sqlx's own reading of the folder gives every number, name and checksum.
    #[tokio::test]
    async fn every_file_of_the_folder_is_a_migration() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        for (database, _) in CHECKSUMS {
            let read = Migrator::new(folder.join(database)).await.unwrap();
            let listed = |migrator: &Migrator| -> Vec<_> {
                let listed = migrator.iter().map(|it| {
                    let form = (it.migration_type, it.no_tx);
                    (it.version, it.description.clone(), form, hex::encode(&it.checksum))
                });
                listed.collect()
            };
            assert_eq!(listed(&ours(database)), listed(&read), "{database}");
            let files = folder.join(database).read_dir().unwrap().count();
            assert_eq!(read.iter().count(), files, "{database}: sqlx passes over a file");
        }
    }
}

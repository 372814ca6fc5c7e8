//! Callback paths of which one part is the app's id, such as `/rtc/{sdk_app_id}`.

/// The part that stands for the app's id.
const PLACEHOLDER: &str = "{sdk_app_id}";

/// A path with a place for the app's id.
#[derive(Debug)]
pub(crate) struct AppPath(Vec<String>);

impl AppPath {
    /// `None` of a path without such a place.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let parts: Vec<String> = parts(path).map(str::to_owned).collect();
        parts.iter().any(|part| part == PLACEHOLDER).then_some(Self(parts))
    }

    /// What stands in that place in the path of a request; `None` where it is another path. Slashes at the end, and two in the place
    /// of one, do not count.
    pub(crate) fn app_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut app = None;
        let mut sent = parts(path);
        for part in &self.0 {
            let sent = sent.next()?;
            if part == PLACEHOLDER {
                app = Some(sent);
            } else if part != sent {
                return None;
            }
        }
        app.filter(|_| sent.next().is_none())
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::app_path::*;

    #[test]
    fn the_app_stands_in_its_place_and_nowhere_else() {
        let path = AppPath::of("/rtc/{sdk_app_id}/in").unwrap();
        for (sent, app) in [
            ("/rtc/1400000001/in", Some("1400000001")),
            ("//rtc//1400000001//in/", Some("1400000001")),
            ("/rtc/x%2Fy/in", Some("x%2Fy")),
            ("/rtc/1400000001", None),
            ("/rtc/1400000001/out", None),
            ("/rtc/1400000001/in/more", None),
            ("/rtc/in", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(path.app_in(sent), app, "{sent}");
        }
        assert!(AppPath::of("/callback").is_none());
        assert!(AppPath::of("/rtc/x{sdk_app_id}").is_none());
    }
}

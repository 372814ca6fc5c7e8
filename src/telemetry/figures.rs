//! Figures read back from the text that Prometheus gets, to be shown to people.

/// The figures at one moment.
#[derive(Debug, Clone)]
pub struct Figures(String);

impl Figures {
    /// Takes the text of `/metrics`.
    #[must_use]
    pub fn read(text: String) -> Self {
        Self(text)
    }

    /// The value of a series without labels; `None` where there is none.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        self.0.lines().find_map(value)
    }

    /// The values of the series of a name by one label, of those whose other label, which stands before it, has this value.
    #[must_use]
    pub fn within(
        &self,
        name: &str,
        (first, value): (&str, &str),
        label: &str,
    ) -> Vec<(&str, f64)> {
        let begin = format!("{name}{{{first}=\"{value}\",{label}=\"");
        let series = |line| -> Option<(&str, f64)> {
            let (word, value) = str::strip_prefix(line, &begin)?.rsplit_once("\"} ")?;
            Some((word, value.parse().ok()?))
        };
        self.0.lines().filter_map(series).collect()
    }

    /// The values of the series of a name with this one label, in the order they stand there.
    #[must_use]
    pub fn by_label(&self, name: &str, label: &str) -> Vec<(&str, f64)> {
        let series = |line| -> Option<(&str, f64)> {
            let (labels, value) =
                str::strip_prefix(line, name)?.strip_prefix('{')?.rsplit_once("} ")?;
            let word = labels.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"')?;
            Some((word, value.parse().ok()?))
        };
        self.0.lines().filter_map(series).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;
    use receiver::RequestOutcome;

    #[test]
    fn metrics_are_read_back() {
        let metrics = Metrics::new();
        metrics.request();
        metrics.request();
        metrics.outcome(RequestOutcome::Duplicate);
        let figures = Figures::read(metrics.handle().render());
        assert_eq!(figures.value("trtc_requests_total"), Some(2.0));
        assert_eq!(figures.value("trtc_requests"), None);
        let outcomes = figures.by_label("trtc_request_outcomes_total", "outcome");
        assert!(outcomes.contains(&("duplicate", 1.0)) && outcomes.contains(&("stored", 0.0)));
        assert!(figures.by_label("trtc_requests_total", "outcome").is_empty());
        let destination = metrics.destination("a");
        destination.attempt("ok", std::time::Duration::from_millis(7));
        let figures = Figures::read(metrics.handle().render());
        let tries = figures.within("trtc_forward_attempts_total", ("destination", "a"), "result");
        assert!(tries.contains(&("ok", 1.0)) && tries.contains(&("tls", 0.0)), "{tries:?}");
        let took =
            figures.within("trtc_forward_attempt_seconds_bucket", ("destination", "a"), "le");
        assert!(took.contains(&("0.1", 1.0)) && took.contains(&("+Inf", 1.0)), "{took:?}");
    }
}

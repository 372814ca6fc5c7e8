//! The parameter `options` of a URL: settings of each session.

/// What is wrong, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) &'static str, pub(crate) &'static str);

/// The settings of `options`, which are written as arguments of the server: `-c name=value --name=value`.
pub(crate) fn of_command_line(options: &str) -> Result<Vec<(String, String)>, Unfit> {
    let unfit = || {
        let problem = "parameter `options` has something other than settings";
        Unfit(problem, "give `options=-c name=value`, or `options[name]=value`")
    };
    // A backslash takes the meaning from a space.
    let mut words = vec![String::new()];
    let mut letters = options.chars();
    while let Some(letter) = letters.next() {
        match (letter, words.last_mut()) {
            ('\\', Some(word)) => word.extend(letters.next()),
            (' ', _) => words.push(String::new()),
            (letter, Some(word)) => word.push(letter),
            (_, None) => {}
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or(word.strip_prefix("-c")) {
            Some("") => words.next().ok_or_else(unfit)?,
            Some(setting) => setting.to_owned(),
            None => return Err(unfit()),
        };
        let (name, value) = setting.split_once('=').ok_or_else(unfit)?;
        found.push((option_name(name)?, value.to_owned()));
    }
    Ok(found)
}

/// The name of a setting.
pub(crate) fn option_name(name: &str) -> Result<String, Unfit> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
        let problem = "parameter `options` names no setting of PostgreSQL";
        return Err(Unfit(
            problem,
            "give `options[name]=value`, such as `options[search_path]=trtc`",
        ));
    }
    Ok(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_arguments_of_the_server() {
        let found = of_command_line(r"-c search_path=a,\ b  -cjit=off --work-mem=4MB").unwrap();
        let found: Vec<(&str, &str)> =
            found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, [("search_path", "a, b"), ("jit", "off"), ("work_mem", "4MB")]);
        for other in ["-c", "search_path=x", "-c x", "-c x;y=1", "-c =1"] {
            of_command_line(other).unwrap_err();
        }
    }
}

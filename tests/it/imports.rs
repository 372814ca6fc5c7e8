//! Which files of a crate import each other, read from their text.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// The files of a crate by their module paths, and for each the modules it imports, its tests aside. A re-export is an import
/// of the file that has it.
pub(crate) fn imports(source: &Path, files: &[PathBuf]) -> BTreeMap<String, BTreeSet<String>> {
    let code: BTreeMap<String, String> = files
        .iter()
        .filter(|file| !file.ends_with("src/lib.rs") && !file.ends_with("src/main.rs"))
        .map(|file| {
            let path = file.strip_prefix(source).unwrap().with_extension("");
            let names = path.iter().map(|name| name.to_str().unwrap());
            let module = names.filter(|name| *name != "mod").collect::<Vec<_>>().join("::");
            let code = fs::read_to_string(file).unwrap();
            let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            (module, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect();
    let parent =
        |module: &str| module.rsplit_once("::").map_or("", |(parent, _)| parent).to_owned();
    let is_child = |of: &str, name: &str| code.contains_key(&format!("{of}::{name}"));
    let resolved = |module: &str, path: &[String]| -> Option<String> {
        let mut base = module.to_owned();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (base, rest) = (String::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while let Some(("super", after)) =
                    rest.split_first().map(|(first, after)| (first.as_str(), after))
                {
                    (base, rest) = (parent(&base), after);
                }
            }
            name if is_child(module, name) => {}
            _ => return None,
        }
        let segments: Vec<&str> = base
            .split("::")
            .chain(rest.iter().map(String::as_str))
            .filter(|s| !s.is_empty())
            .collect();
        let prefixes = (1..=segments.len()).rev().map(|count| segments[..count].join("::"));
        prefixes.into_iter().find(|prefix| code.contains_key(prefix))
    };
    let used = |module: &String, code: &String| {
        let paths = paths(code);
        let used = paths.iter().filter_map(|path| resolved(module, path));
        used.filter(|used| used != module).collect()
    };
    code.iter().map(|(module, code)| (module.clone(), used(module, code))).collect()
}

/// The paths of more than one name that stand in some code, those of `use` trees one by one.
fn paths(code: &str) -> Vec<Vec<String>> {
    let (mut paths, mut rest) = (Vec::new(), code);
    while let Some(start) = rest.find("use ") {
        let (before, tree) = rest.split_at(start);
        let head = before.rsplit('\n').next().unwrap().trim();
        let end = tree.find(';').unwrap_or(tree.len());
        if head.is_empty() || head.starts_with("pub") {
            plain_paths(before, &mut paths);
            expand(&tree["use ".len()..end], &[], &mut paths);
            rest = &tree[end..];
        } else {
            plain_paths(before, &mut paths);
            rest = &tree["use ".len()..];
        }
    }
    plain_paths(rest, &mut paths);
    paths
}

/// The paths of a `use` tree such as `a::{self, b::{C, D as E}}`.
fn expand(tree: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let head = tree.split('{').next().unwrap();
    let head = head.split(" as ").next().unwrap();
    let mut path = prefix.to_vec();
    path.extend(
        head.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
    );
    let Some(start) = tree.find('{') else {
        if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
            path.pop();
        }
        paths.push(path);
        return;
    };
    let (mut depth, mut from) = (0, start + 1);
    for (place, letter) in tree.char_indices().skip_while(|(place, _)| *place <= start) {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                if !tree[from..place].trim().is_empty() {
                    expand(&tree[from..place], &path, paths);
                }
                from = place + 1;
            }
            _ => {}
        }
    }
}

/// The paths of code without `use`.
fn plain_paths(code: &str, paths: &mut Vec<Vec<String>>) {
    let is_of_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    for word in code.split(|letter| !is_of_path(letter)) {
        let names: Vec<String> = word.split("::").map(str::to_owned).collect();
        if names.len() > 1 && !names[0].is_empty() {
            paths.push(names.into_iter().filter(|name| !name.is_empty()).collect());
        }
    }
}

/// Of each file in a circle the shortest one, each once.
pub(crate) fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<Vec<String>> {
    let mut circles = BTreeSet::new();
    for start in imports.keys() {
        let mut from: BTreeMap<&String, &String> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(file) = queue.pop_front() {
            for used in imports.get(file).into_iter().flatten() {
                if !from.contains_key(used) {
                    from.insert(used, file);
                    queue.push_back(used);
                }
            }
        }
        if !from.contains_key(start) {
            continue;
        }
        let mut circle = vec![from[start].clone()];
        while circle.last() != Some(start) {
            circle.push(from[circle.last().unwrap()].clone());
        }
        circle.reverse();
        let least = circle.iter().enumerate().min_by_key(|(_, file)| *file).unwrap().0;
        circle.rotate_left(least);
        circle.push(circle[0].clone());
        circles.insert(circle);
    }
    circles
}

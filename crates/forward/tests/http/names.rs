//! A resolver of the tests' own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use forward::http::dns::{Addrs, Name, Resolve, Resolving};

/// Gives one list of addresses after the other for whatever name; the last for ever.
pub(crate) struct Names {
    answers: Vec<Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    /// A resolver that knows no name.
    pub(crate) fn none() -> Self {
        Self::new(&[])
    }

    pub(crate) fn new(answers: &[&[&str]]) -> Self {
        let list = |answer: &&[&str]| answer.iter().map(|a| a.parse().unwrap()).collect();
        Self { answers: answers.iter().map(list).collect(), asked: Mutex::default() }
    }

    /// The names that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A name server that does not answer.
pub(crate) struct Silence;

impl Resolve for Silence {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(std::future::pending())
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let mut asked = self.asked.lock().unwrap();
        let answer = self.answers.get(asked.len()).or(self.answers.last()).cloned();
        asked.push(name.as_str().to_owned());
        Box::pin(async move {
            let answer = answer.ok_or_else(|| io::Error::other("no such name"))?;
            let addresses = answer.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

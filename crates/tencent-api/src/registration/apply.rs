//! From what is registered to what is wanted: look, compare, write, and cope with others who write meanwhile.

use std::collections::BTreeSet;
use std::fmt;

use crate::client::{Client, Receipt};
use crate::error::{Action, Failure, VendorError};
use crate::registration::config::{CallbackConfig, EXISTS, EXISTS_NOT};
use crate::registration::product::Product;
use protocol::Command;

/// How often [`Client::apply`] begins again because somebody else wrote meanwhile.
const CONTENTIONS_MAX: u32 = 4;

/// What is to be written for one product, and what it replaces.
#[derive(Debug, Clone)]
pub struct Plan {
    product: Product,
    wanted: CallbackConfig,
    before: Option<CallbackConfig>,
    /// Whether the vendor has a configuration to update. What it says when it refuses a call counts more than what it
    /// shows: one may be behind the other.
    exists: bool,
}

/// What differs between what is registered and what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The URL that goes; absent where it stays or there is none.
    pub url_before: Option<String>,
    /// The URL that comes; absent where it stays.
    pub url_after: Option<String>,
    /// Commands that come, in the order they are wanted.
    pub added: Vec<String>,
    /// Commands that go, as the vendor writes them: their events would not be sent any more.
    pub removed: Vec<String>,
    /// Commands that stay.
    pub kept: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was registered as wanted.
    None,
    /// There was nothing, or, for Call, it was replaced.
    Set(Receipt),
    /// It was replaced.
    Updated(Receipt),
    /// It is as wanted now although the call was refused: an earlier try went well and its answer was lost, or somebody
    /// else wrote the same.
    Raced,
}

/// How writing a plan ended.
#[derive(Debug, Clone)]
pub enum WriteOutcome {
    /// It is as wanted.
    Done(Change),
    /// Nothing was written: what is registered is not what the plan was made for any more. Here is the plan for what it
    /// is now.
    Moved(Plan),
}

impl Diff {
    /// Compares what is registered, if anything, with what is wanted. Commands are compared as sets, by their canonical
    /// names: the vendor shows some under another.
    #[must_use]
    pub fn between(before: Option<&CallbackConfig>, wanted: &CallbackConfig) -> Self {
        let has: &[String] = before.map_or(&[], |before| &before.commands);
        let (had, wants) = (names(has), names(&wanted.commands));
        let of = |list: &[String], keep: &dyn Fn(&str) -> bool| {
            let mut seen = BTreeSet::new();
            let mut first = |word| keep(word) && seen.insert(word);
            list.iter().filter(|word| first(canonical(word))).cloned().collect::<Vec<String>>()
        };
        let url_before = before.map(|before| before.url.clone());
        let stays = url_before.as_ref() == Some(&wanted.url);
        Self {
            url_before: url_before.filter(|_| !stays),
            url_after: (!stays).then(|| wanted.url.clone()),
            added: of(&wanted.commands, &|word| !had.contains(word)),
            removed: of(has, &|word| !wants.contains(word)),
            kept: of(&wanted.commands, &|word| had.contains(word)),
        }
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.url_after.is_none() && self.added.is_empty() && self.removed.is_empty()
    }
}

/// One line for each difference, `- ` before what goes and `+ ` before what comes; nothing where nothing differs.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goes = self.url_before.iter().map(|url| ('-', url));
        let comes = self.url_after.iter().map(|url| ('+', url));
        let removed = self.removed.iter().map(|word| ('-', word));
        let added = self.added.iter().map(|word| ('+', word));
        let mut lines = goes.chain(comes).chain(removed).chain(added);
        lines.try_for_each(|(sign, text)| writeln!(f, "{sign} {text}"))
    }
}

impl Plan {
    /// Whose configuration it is.
    #[must_use]
    pub fn product(&self) -> Product {
        self.product
    }

    /// What is registered; absent where nothing is.
    #[must_use]
    pub fn before(&self) -> Option<&CallbackConfig> {
        self.before.as_ref()
    }

    /// What is to be registered.
    #[must_use]
    pub fn wanted(&self) -> &CallbackConfig {
        &self.wanted
    }

    /// What differs.
    #[must_use]
    pub fn diff(&self) -> Diff {
        Diff::between(self.before(), &self.wanted)
    }
}

impl Client {
    /// Looks at what is registered and compares it with what is wanted. Changes nothing.
    ///
    /// # Errors
    /// The call failed.
    pub async fn plan(
        &self,
        product: Product,
        wanted: &CallbackConfig,
    ) -> Result<Plan, VendorError> {
        let before = self.callback(product).await?;
        let exists = before.is_some();
        Ok(Plan { product, wanted: wanted.clone(), before, exists })
    }

    /// Writes a plan that somebody was shown. Looks once more before, and does not overwrite what the plan does not
    /// know of, as far as that can be seen: the vendor has no call that compares and writes at once.
    ///
    /// # Errors
    /// A call failed.
    pub async fn write(&self, plan: &Plan) -> Result<WriteOutcome, VendorError> {
        let now = self.plan(plan.product, &plan.wanted).await?;
        if now.diff().is_empty() {
            return Ok(WriteOutcome::Done(Change::None));
        }
        let has_moved = match now.before() {
            Some(now) => !Diff::between(plan.before(), now).is_empty(),
            None => plan.before().is_some(),
        };
        if has_moved { Ok(WriteOutcome::Moved(now)) } else { self.put(plan).await }
    }

    /// Makes what is registered what is wanted, whatever it was.
    ///
    /// # Errors
    /// A call failed, or somebody else kept writing meanwhile.
    pub async fn apply(
        &self,
        product: Product,
        wanted: &CallbackConfig,
    ) -> Result<(Change, Plan), VendorError> {
        let mut plan = self.plan(product, wanted).await?;
        if plan.diff().is_empty() {
            return Ok((Change::None, plan));
        }
        for _ in 0..CONTENTIONS_MAX {
            match self.put(&plan).await? {
                WriteOutcome::Done(change) => return Ok((change, plan)),
                WriteOutcome::Moved(moved) => plan = moved,
            }
        }
        let action = Action { product: Some(product), name: "apply" };
        Err(self.error(action, Failure::Contended(CONTENTIONS_MAX)))
    }

    /// Writes without looking before.
    async fn put(&self, plan: &Plan) -> Result<WriteOutcome, VendorError> {
        let Plan { product, wanted, .. } = plan;
        let written = if plan.exists && product.has_update() {
            self.update_callback(*product, wanted).await.map(Change::Updated)
        } else {
            self.set_callback(*product, wanted).await.map(Change::Set)
        };
        let exists = match written {
            Ok(change) => return Ok(WriteOutcome::Done(change)),
            Err(error) => match error.code() {
                Some(EXISTS) => true,
                Some(EXISTS_NOT) => false,
                _ => return Err(error),
            },
        };
        let moved = Plan { exists, ..self.plan(*product, wanted).await? };
        if moved.diff().is_empty() {
            return Ok(WriteOutcome::Done(Change::Raced));
        }
        Ok(WriteOutcome::Moved(moved))
    }
}

/// The registry's name of a command.
fn canonical(word: &str) -> &str {
    Command::find(word).map_or(word, |command| command.name)
}

fn names(words: &[String]) -> BTreeSet<&str> {
    words.iter().map(|word| canonical(word)).collect()
}

//! The conditions of a list as options of a command.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::marker::PhantomData;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::store::{Condition, ConditionError, ConditionKind, Filter};
use protocol::UnixMillis;
use protocol::diagnostic::Hint;

/// The options for the conditions of `F`.
#[derive(Debug)]
pub(crate) struct FilterArgs<F> {
    values: BTreeMap<&'static str, String>,
    filter: PhantomData<fn() -> F>,
}

impl<F: Filter + Default> FilterArgs<F> {
    /// What was asked for. An age is one before `now`.
    pub(crate) fn filter(&self, now: UnixMillis) -> Result<F, ConditionError> {
        F::default().read(|name| self.values.get(name).map(String::as_str), now)
    }
}

impl<F: Filter> Args for FilterArgs<F> {
    fn augment_args(command: Command) -> Command {
        command.args(F::conditions().into_iter().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<F: Filter> FromArgMatches for FilterArgs<F> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let names = F::conditions().into_iter().map(|condition| condition.name);
        let value = |name| Some((name, matches.get_one::<String>(name)?.clone()));
        Ok(Self { values: names.filter_map(value).collect(), filter: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn option(condition: &'static Condition) -> Arg {
    let value_name = match condition.kind {
        ConditionKind::App => "ID",
        ConditionKind::Time => "TIME",
        ConditionKind::Flag(_) => "BOOL",
        ConditionKind::OneOf(_) | ConditionKind::Command => "NAME",
        ConditionKind::Text => "VALUE",
    };
    let option = Arg::new(condition.name)
        .long(condition.name)
        .value_name(value_name)
        .help(condition.help())
        .value_parser(ConditionParser(condition));
    match condition.kind {
        ConditionKind::App => option.visible_alias("sdk-app-id"),
        ConditionKind::Flag(_) => option.num_args(0..=1).default_missing_value("true"),
        _ => option,
    }
}

/// Takes what the condition takes, and keeps it as text: an age needs the time, which is not known yet.
#[derive(Debug, Clone, Copy)]
struct ConditionParser(&'static Condition);

impl TypedValueParser for ConditionParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        option: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        let text = StringValueParser::new().parse_ref(command, option, value)?;
        match self.0.read(&text, UnixMillis(0)) {
            Ok(_) => Ok(text),
            Err(error) => {
                let text = format!("{}\n", error.diagnostic());
                Err(Error::raw(ErrorKind::ValueValidation, text).with_cmd(command))
            }
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        match self.0.kind {
            ConditionKind::OneOf(words) => Some(Box::new(words.iter().map(PossibleValue::new))),
            _ => None,
        }
    }
}

//! Templates: SQL for both databases, with macros where the dialects differ.
//!
//! | word | SQL |
//! |---|---|
//! | `@ms(x)` | the time `x`, read in ms |
//! | `@text(x)` | the id or JSON `x`, read as text |
//! | `@at(n)` | parameter `n`, given in ms, as a time |
//! | `@id(n)`, `@json(n)` | parameter `n`, given as text, as an id or as JSON |
//! | `@unhex(n)` | parameter `n`, given as hex, as bytes |
//! | `@raw_holds(n)` | whether the raw body of an event has parameter `n` in it |
//! | `@hour(x)`, `@day(x)` | the beginning of the hour or of the day (UTC) of the time `x` |
//! | `@sum(x)` | the sum of `x`, or the largest number where it does not fit |
//! | `@greatest(…)`, `@least(…)` | the greatest or the least of some values |
//! | `@strpos(text, part)` | where `part` begins in `text`, from 1; 0 where it is not in it |
//! | `@json_array(…)` | the values as JSON |
//! | `@texts(x)` | all `x` of a subquery as a JSON list, read as text |
//! | `@clock` | the database's clock in ms |
//! | `@minute`, `@tick` | between two times: a minute, and less than a ms |
//! | `@feed_ids(x)` | the ids of a row of the feed, read as text |
//! | `@feed_events(x)` | the number of ids in a row of the feed |
//! | `@feed_holds(n)` | whether a row of the feed may hold the id that is parameter `n` |
//! | `@now`, `@after(n)` | the database's clock as a time, and that many ms later |
//! | `@rows(n)` | parameter `n`, a list of JSON, as a table `item` with a column `value` |
//! | `@as_id(x)`, `@as_time(x)` | an id and a time in ms out of JSON, as the database has them |
//! | `@bytewise` | behind a text in `order by`: by its bytes |
//!
//! `@from` and `@using` stay: a [bulk write](crate::sql::bulk_write) puts its table of parameters there.

use crate::sql::dialect::Dialect;

/// Renders a template in one dialect. Unknown macros stay as they are.
pub(crate) fn render(dialect: &Dialect, template: &str) -> String {
    let mut sql = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('@') {
        sql.push_str(before);
        rest = behind;
        let is_of_word = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
        let end = behind.find(|letter| !is_of_word(letter)).unwrap_or(behind.len());
        let (name, behind) = behind.split_at(end);
        let Some((_, text)) = dialect.words.iter().find(|(word, _)| *word == name) else {
            sql.push('@');
            continue;
        };
        if !text.contains("{}") {
            sql.push_str(text);
            rest = behind;
        } else if let Some((argument, behind)) = argument(behind) {
            sql.push_str(&text.replace("{}", argument));
            rest = behind;
        } else {
            sql.push('@');
        }
    }
    sql.push_str(rest);
    sql
}

/// The text within the parentheses at the start of `text`, and the rest after them.
fn argument(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('(')?;
    let mut depth = 0;
    let end = inner.find(|letter: char| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth < 0
    })?;
    Some((&inner[..end], &inner[end + 1..]))
}

#[cfg(test)]
mod tests {
    use crate::sql::dialect::{POSTGRES, SQLITE};
    use crate::sql::template::*;

    #[test]
    fn a_statement_is_translated_for_each_database() {
        let sql = "select @ms(max(at)), @text(id) from x where at >= @at(1) and @greatest(a, b) > $2 \
                   and @strpos(@text(c), 'd') > 0 order by a @bytewise";
        assert_eq!(
            render(&SQLITE, sql),
            "select max(at), id from x where at >= $1 and max(a, b) > $2 \
             and instr(c, 'd') > 0 order by a "
        );
        assert_eq!(
            render(&POSTGRES, sql),
            "select (extract(epoch from max(at)) * 1000)::bigint, id::text from x \
             where at >= ((timestamp 'epoch' + $1 * interval '1 millisecond') at time zone 'UTC') and greatest(a, b) > $2 \
             and strpos(c::text, 'd') > 0 order by a collate \"C\""
        );
    }

    #[test]
    fn an_unknown_macro_stays_as_it_is() {
        let sql = "delete from x @using where @ms";
        assert_eq!(render(&POSTGRES, sql), sql);
    }
}

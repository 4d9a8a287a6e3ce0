//! A query as words.

use super::QueryError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    Text(String),
    /// Punctuation and operators.
    Sign(&'static str),
}

impl Token {
    /// As it is shown in errors.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(word) => format!("{word:?}"),
            Token::Number(number) => format!("number {number}"),
            Token::Duration(milliseconds) => format!("duration {milliseconds}ms"),
            Token::Text(text) => format!("string {text:?}"),
            Token::Sign(sign) => format!("{sign:?}"),
        }
    }
}

/// Longer ones first.
const SIGNS: [&str; 25] = [
    "=~", "!~", "!=", "==", "<=", ">=", "(", ")", "{", "}", "[", "]", ",", "=", "<", ">", "+", "-", "*", "/", "%", "^",
    "@", ":", ";",
];

/// Each token with the characters before it.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, QueryError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix('#') {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let at = text[..text.len() - rest.len()].chars().count();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let (token, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' | ':' if first != ':' || begins_word(&rest[1..]) => word(rest),
            '0'..='9' | '.' => number(rest).map_err(|what| QueryError::Syntax { at, what })?,
            '"' | '\'' | '`' => string(rest, first).map_err(|what| QueryError::Syntax { at, what })?,
            other => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => return Err(QueryError::Syntax { at, what: format!("unexpected character {other:?}") }),
            },
        };
        tokens.push((at, token));
        rest = &rest[length..];
    }
}

fn begins_word(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
}

fn word(text: &str) -> (Token, usize) {
    let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let word = &text[..length];
    // Unless it is a name, as in `inf{}`, which nobody has.
    match word.to_ascii_lowercase().as_str() {
        "inf" => (Token::Number(f64::INFINITY), length),
        "nan" => (Token::Number(f64::NAN), length),
        _ => (Token::Word(word.to_owned()), length),
    }
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let mut length = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).unwrap_or(text.len());
    let mut written = &text[..length];
    // The sign of an exponent.
    let hexadecimal = written.starts_with("0x") || written.starts_with("0X");
    if !hexadecimal && written.ends_with(['e', 'E']) && text[length..].starts_with(['+', '-']) {
        let after = &text[length + 1..];
        length += 1 + after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        written = &text[..length];
    }
    if hexadecimal {
        let value = u64::from_str_radix(&written[2..], 16).map_err(|_| format!("{written:?} is not a number"))?;
        #[expect(clippy::cast_precision_loss, reason = "as Prometheus does")]
        return Ok((Token::Number(value as f64), length));
    }
    if let Some(milliseconds) = duration(written) {
        return Ok((Token::Duration(milliseconds), length));
    }
    let value: f64 = written.parse().map_err(|_| format!("{written:?} is neither a number nor a duration"))?;
    Ok((Token::Number(value), length))
}

/// `1h30m` and the like, in milliseconds: whole numbers, from the longest unit to the shortest.
fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut rest, mut total, mut next) = (text, 0_i64, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = UNITS.iter().position(|(name, _)| *name == &after[..letters]).filter(|unit| *unit >= next)?;
        total = total.checked_add(count.parse::<i64>().ok()?.checked_mul(UNITS[unit].1)?)?;
        next = unit + 1;
        rest = &after[letters..];
    }
    (next > 0).then_some(total)
}

fn string(text: &str, quote: char) -> Result<(Token, usize), String> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            return Ok((Token::Text(value), at + quote.len_utf8()));
        }
        match letter {
            '\\' if quote != '`' => {
                let escaped = letters.next().map(|(_, escaped)| escaped);
                value.push(match escaped {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some('\\') => '\\',
                    Some(same) if same == quote => same,
                    Some(other) => {
                        return Err(format!("unknown escape \\{other} in a string: a backslash is written \\\\"));
                    }
                    None => break,
                });
            }
            '\n' if quote != '`' => return Err("a string ends before the line does".into()),
            other => value.push(other),
        }
    }
    Err(format!("a string has no closing {quote}"))
}

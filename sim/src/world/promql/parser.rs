//! From words to a tree, by recursive descent. Shapes are checked here, as Prometheus does before it evaluates.

use super::super::series::{Matcher, NAME, Wanted};
use super::QueryError;
use super::lexer::{Token, tokens};
use super::syntax::{
    Aggregate, Aggregation, Arithmetic, Binary, Comparison, Expression, Function, Grouping, Matching,
    OTHER_AGGREGATIONS, OTHER_FUNCTIONS, Operator, Selector, SetOperator, Shape,
};

/// Deeper nesting is refused, so that no query exhausts the stack.
const DEEPEST: usize = 64;

pub(super) fn parse(text: &str) -> Result<Expression, QueryError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, length: text.chars().count(), depth: 0 };
    if parser.tokens.is_empty() {
        return Err(parser.wrong("the query is empty"));
    }
    let expression = parser.expression(0)?;
    match parser.peek() {
        None => Ok(expression),
        Some(token) => Err(parser.wrong(format!("unexpected {} after the end of an expression", token.shown()))),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    length: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn wrong(&self, what: impl Into<String>) -> QueryError {
        let at = self.tokens.get(self.next).map_or(self.length, |(at, _)| *at);
        QueryError::Syntax { at, what: what.into() }
    }

    fn expected(&self, what: &str) -> QueryError {
        let found = self.peek().map_or_else(|| "the end".to_owned(), Token::shown);
        self.wrong(format!("expected {what}, found {found}"))
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(own)) if *own == sign);
        self.next += usize::from(found);
        found
    }

    fn needs(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.takes(sign) { Ok(()) } else { Err(self.expected(&format!("{sign:?}"))) }
    }

    /// The next token when it is that keyword, in any case.
    fn takes_word(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.next += usize::from(found);
        found
    }

    /// Operators of at least that rank, by precedence climbing.
    fn expression(&mut self, lowest: u8) -> Result<Expression, QueryError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(format!("the query is nested deeper than {DEEPEST} levels")));
        }
        let mut left = self.unary()?;
        while let Some((operator, rank)) = self.operator()?.filter(|(_, rank)| *rank >= lowest) {
            let place = self.next;
            self.next += 1;
            let returns_bool = self.takes_word("bool");
            let matching = self.matching()?;
            // Powers group to the right, all else to the left.
            let right = self.expression(if rank == POWER { rank } else { rank + 1 })?;
            let explicit = matching.is_some();
            let matching = matching.unwrap_or(Matching::Ignoring(Vec::new()));
            let binary = Binary { operator, left, right, matching, returns_bool };
            check(&binary, explicit).map_err(|what| QueryError::Syntax { at: self.tokens[place].0, what })?;
            left = Expression::Binary(Box::new(binary));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Result<Option<(Operator, u8)>, QueryError> {
        let arithmetic = |operator, rank| Some((Operator::Arithmetic(operator), rank));
        let comparison = |operator| Some((Operator::Comparison(operator), 2));
        Ok(match self.peek() {
            Some(Token::Sign(sign)) => match *sign {
                "+" => arithmetic(Arithmetic::Add, 3),
                "-" => arithmetic(Arithmetic::Subtract, 3),
                "*" => arithmetic(Arithmetic::Multiply, 4),
                "/" => arithmetic(Arithmetic::Divide, 4),
                "%" => arithmetic(Arithmetic::Remainder, 4),
                "^" => arithmetic(Arithmetic::Power, POWER),
                "==" => comparison(Comparison::Equal),
                "!=" => comparison(Comparison::NotEqual),
                "<" => comparison(Comparison::Less),
                "<=" => comparison(Comparison::LessOrEqual),
                ">" => comparison(Comparison::Greater),
                ">=" => comparison(Comparison::GreaterOrEqual),
                "@" => return Err(QueryError::Unsupported("the modifier @".into())),
                _ => None,
            },
            Some(Token::Word(word)) => match word.to_ascii_lowercase().as_str() {
                "or" => Some((Operator::Set(SetOperator::Or), 0)),
                "and" => Some((Operator::Set(SetOperator::And), 1)),
                "unless" => Some((Operator::Set(SetOperator::Unless), 1)),
                "atan2" => return Err(QueryError::Unsupported("the operator atan2".into())),
                _ => None,
            },
            Some(Token::Number(_) | Token::Duration(_) | Token::Text(_)) | None => None,
        })
    }

    fn matching(&mut self) -> Result<Option<Matching>, QueryError> {
        let matching = if self.takes_word("on") {
            Matching::On(self.names()?)
        } else if self.takes_word("ignoring") {
            Matching::Ignoring(self.names()?)
        } else {
            return Ok(None);
        };
        for keyword in ["group_left", "group_right"] {
            if self.takes_word(keyword) {
                return Err(QueryError::Unsupported(keyword.into()));
            }
        }
        Ok(Some(matching))
    }

    fn names(&mut self) -> Result<Vec<String>, QueryError> {
        self.needs("(")?;
        let mut names = Vec::new();
        while !self.takes(")") {
            let Some(Token::Word(name)) = self.peek() else { return Err(self.expected("the name of a label")) };
            names.push(name.clone());
            self.next += 1;
            if !self.takes(",") {
                self.needs(")")?;
                break;
            }
        }
        Ok(names)
    }

    fn unary(&mut self) -> Result<Expression, QueryError> {
        let negative = self.takes("-");
        if !negative && !self.takes("+") {
            return self.postfix();
        }
        // `-2^2` is -4, `-2*3` is (-2)*3.
        let inner = self.expression(POWER)?;
        if inner.shape() == Shape::Range {
            return Err(self.wrong("a sign needs a scalar or an instant vector"));
        }
        Ok(if negative { Expression::Negated(Box::new(inner)) } else { inner })
    }

    /// A primary expression with its range and offset.
    fn postfix(&mut self) -> Result<Expression, QueryError> {
        let mut expression = self.primary()?;
        loop {
            if self.takes("[") {
                let Some(Token::Duration(range)) = self.peek() else {
                    return Err(self.expected("a duration such as 5m"));
                };
                let range = *range;
                self.next += 1;
                if self.takes(":") || matches!(self.peek(), Some(Token::Word(word)) if word.starts_with(':')) {
                    return Err(QueryError::Unsupported("a subquery".into()));
                }
                self.needs("]")?;
                let Expression::Instant(selector) = expression else {
                    return Err(self.wrong("a range needs a selector of series before it"));
                };
                if range == 0 || selector.offset != 0 {
                    return Err(self.wrong("a range is longer than nothing, and stands before the offset"));
                }
                expression = Expression::Range(selector, range);
            } else if self.takes_word("offset") {
                let negative = self.takes("-");
                let Some(Token::Duration(offset)) = self.peek() else {
                    return Err(self.expected("a duration such as 5m"));
                };
                let offset = if negative { -offset } else { *offset };
                self.next += 1;
                match &mut expression {
                    Expression::Instant(selector) | Expression::Range(selector, _) if selector.offset == 0 => {
                        selector.offset = offset;
                    }
                    Expression::Number(_)
                    | Expression::Instant(_)
                    | Expression::Range(..)
                    | Expression::Negated(_)
                    | Expression::Binary(_)
                    | Expression::Aggregation(_)
                    | Expression::Call(..) => {
                        return Err(self.wrong("an offset stands once, behind a selector of series"));
                    }
                }
            } else if self.takes("@") {
                return Err(QueryError::Unsupported("the modifier @".into()));
            } else {
                return Ok(expression);
            }
        }
    }

    fn primary(&mut self) -> Result<Expression, QueryError> {
        match self.peek().cloned() {
            Some(Token::Number(number)) => {
                self.next += 1;
                Ok(Expression::Number(number))
            }
            Some(Token::Sign("(")) => {
                self.next += 1;
                let inner = self.expression(0)?;
                self.needs(")")?;
                Ok(inner)
            }
            Some(Token::Sign("{")) => self.selector(None),
            Some(Token::Word(word)) => {
                self.next += 1;
                self.named(word)
            }
            Some(Token::Text(_)) => Err(QueryError::Unsupported("a string as a value".into())),
            Some(Token::Duration(_)) => Err(QueryError::Unsupported("a duration as a number".into())),
            Some(Token::Sign(_)) | None => Err(self.expected("an expression")),
        }
    }

    /// A function, an aggregation or a selector: what follows decides.
    fn named(&mut self, name: String) -> Result<Expression, QueryError> {
        let lower = name.to_ascii_lowercase();
        let bracket = matches!(self.peek(), Some(Token::Sign("(")));
        let grouped = matches!(self.peek(), Some(Token::Word(word))
            if word.eq_ignore_ascii_case("by") || word.eq_ignore_ascii_case("without"));
        if bracket || grouped {
            if let Some(operator) = aggregate(&lower) {
                return self.aggregation(operator);
            }
            if OTHER_AGGREGATIONS.contains(&lower.as_str()) {
                return Err(QueryError::Unsupported(format!("the aggregation {lower}")));
            }
        }
        if bracket {
            return self.call(&name);
        }
        self.selector(Some(name))
    }

    fn aggregation(&mut self, operator: Aggregate) -> Result<Expression, QueryError> {
        let before = self.grouping()?;
        self.needs("(")?;
        let of = self.expression(0)?;
        self.needs(")")?;
        let grouping = match before {
            Some(grouping) => grouping,
            None => self.grouping()?.unwrap_or(Grouping::By(Vec::new())),
        };
        if of.shape() != Shape::Vector {
            return Err(self.wrong(format!("an aggregation needs an instant vector, not {}", of.shape().name())));
        }
        Ok(Expression::Aggregation(Aggregation { operator, grouping, of: Box::new(of) }))
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, QueryError> {
        if self.takes_word("by") {
            return self.names().map(|names| Some(Grouping::By(names)));
        }
        if self.takes_word("without") {
            return self.names().map(|names| Some(Grouping::Without(names)));
        }
        Ok(None)
    }

    fn call(&mut self, name: &str) -> Result<Expression, QueryError> {
        let Some(function) = Function::by_name(name) else {
            if OTHER_FUNCTIONS.contains(&name) {
                return Err(QueryError::Unsupported(format!("the function {name}")));
            }
            return Err(self.wrong(format!("there is no function {name}")));
        };
        self.needs("(")?;
        let mut arguments = Vec::new();
        while !self.takes(")") {
            arguments.push(self.expression(0)?);
            if !self.takes(",") {
                self.needs(")")?;
                break;
            }
        }
        let (shapes, _, optional) = function.signature();
        if arguments.len() > shapes.len() || arguments.len() + optional < shapes.len() {
            let wanted = shapes.len();
            return Err(self.wrong(format!("{name} takes {wanted} arguments, not {}", arguments.len())));
        }
        for (argument, shape) in arguments.iter().zip(shapes) {
            if argument.shape() != *shape {
                let (wanted, found) = (shape.name(), argument.shape().name());
                return Err(self.wrong(format!("{name} needs {wanted} where it has {found}")));
            }
        }
        Ok(Expression::Call(function, arguments))
    }

    fn selector(&mut self, name: Option<String>) -> Result<Expression, QueryError> {
        let named = name.is_some();
        let mut matchers: Vec<Matcher> =
            name.into_iter().map(|name| Matcher { label: NAME.into(), wanted: Wanted::Equal(name) }).collect();
        if self.takes("{") {
            while !self.takes("}") {
                matchers.push(self.matcher(named)?);
                if !self.takes(",") {
                    self.needs("}")?;
                    break;
                }
            }
        }
        if matchers.iter().all(|matcher| matcher.fits_value("")) {
            return Err(self.wrong("a selector needs at least one matcher that does not fit the empty value"));
        }
        Ok(Expression::Instant(Selector { matchers, offset: 0 }))
    }

    fn matcher(&mut self, named: bool) -> Result<Matcher, QueryError> {
        let label = match self.peek() {
            Some(Token::Word(label)) => label.clone(),
            Some(Token::Text(_)) => return Err(QueryError::Unsupported("a quoted name".into())),
            Some(Token::Number(_) | Token::Duration(_) | Token::Sign(_)) | None => {
                return Err(self.expected("the name of a label"));
            }
        };
        if named && label == NAME {
            return Err(self.wrong("the name of the metric is given twice"));
        }
        self.next += 1;
        let Some(sign) = ["=~", "!~", "!=", "="].into_iter().find(|sign| self.takes(sign)) else {
            return Err(self.expected("one of = != =~ !~"));
        };
        let Some(Token::Text(value)) = self.peek() else { return Err(self.expected("a string")) };
        let value = value.clone();
        let pattern = || {
            Matcher::pattern(&value)
                .map_err(|error| self.wrong(format!("the pattern {value:?} cannot be read: {error}")))
        };
        let wanted = match sign {
            "=~" => Wanted::Matches(pattern()?),
            "!~" => Wanted::MatchesNot(pattern()?),
            "!=" => Wanted::NotEqual(value),
            _ => Wanted::Equal(value),
        };
        self.next += 1;
        Ok(Matcher { label, wanted })
    }
}

/// Binds stronger than a sign.
const POWER: u8 = 5;

fn aggregate(name: &str) -> Option<Aggregate> {
    Some(match name {
        "sum" => Aggregate::Sum,
        "avg" => Aggregate::Average,
        "min" => Aggregate::Minimum,
        "max" => Aggregate::Maximum,
        "count" => Aggregate::Count,
        _ => return None,
    })
}

fn check(binary: &Binary, explicit: bool) -> Result<(), String> {
    let shapes = [binary.left.shape(), binary.right.shape()];
    if shapes.contains(&Shape::Range) {
        return Err("an operator needs scalars or instant vectors, not a range vector".into());
    }
    let scalars = shapes.iter().filter(|shape| **shape == Shape::Scalar).count();
    if explicit && scalars > 0 {
        return Err("on and ignoring need an instant vector on both sides".into());
    }
    match binary.operator {
        Operator::Set(_) if scalars > 0 => Err("and, or and unless need an instant vector on both sides".into()),
        Operator::Comparison(_) if scalars == 2 && !binary.returns_bool => {
            Err("a comparison of two scalars needs the modifier bool".into())
        }
        Operator::Arithmetic(_) | Operator::Set(_) if binary.returns_bool => {
            Err("the modifier bool is for comparisons alone".into())
        }
        Operator::Arithmetic(_) | Operator::Comparison(_) | Operator::Set(_) => Ok(()),
    }
}

//! From text to an expression, by `sqlparser`.

use super::{
    PREDICATE_TEXT_BYTES_MAX,
    decision::{DecisionDiagram, Link},
    error::{PredicateError, PredicateErrorKind},
    lower::Substitution,
};
use crate::curie::is_local;
use sqlparser::{
    ast::{Expr, Ident, Spanned},
    dialect::GenericDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word},
};

/// Deepest nesting of parentheses and operators.
const DEPTH_MAX: usize = 48;
/// Quote that marks an ontology term among the parser's identifiers.
pub(super) const TERM_QUOTE: char = '"';

/// What stands somewhere in the text.
pub(super) trait Place {
    fn place(&self) -> Span;
}

impl Place for Expr {
    fn place(&self) -> Span {
        self.span()
    }
}

impl Place for Ident {
    fn place(&self) -> Span {
        self.span
    }
}

/// The text of a predicate, in one line.
pub(super) struct Source {
    text: String,
    letters: Vec<char>,
}

impl Source {
    pub(super) fn new(text: &str) -> Result<Self, PredicateError> {
        if text.len() > PREDICATE_TEXT_BYTES_MAX {
            let kind = PredicateErrorKind::TooLong { max: PREDICATE_TEXT_BYTES_MAX, got: text.len() };
            return Err(PredicateError::without_text(kind));
        }
        let letters: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Ok(Self { text: letters.iter().collect(), letters })
    }

    pub(super) fn parse(&self) -> Result<Expr, PredicateError> {
        let dialect = GenericDialect {};
        let mut tokenizer = Tokenizer::new(&dialect, &self.text);
        let tokens = tokenizer.tokenize_with_location().map_err(|error| {
            let message = error.message.to_lowercase();
            self.error_at(PredicateErrorKind::Syntax(message), Span::new(error.location, error.location))
        })?;
        let tokens = self.join_terms(tokens);
        if tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_) | Token::EOF)) {
            let message = "a predicate names at least one attribute".to_owned();
            return Err(PredicateError::without_text(PredicateErrorKind::Syntax(message)));
        }
        let mut parser = Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
        let expression = parser.parse_expr();
        let next = parser.peek_token();
        let expression = expression.map_err(|error| self.syntax_error(&error, next.span))?;
        if next.token != Token::EOF {
            let message = format!("{} does not belong here", next.token);
            return Err(self.error_at(PredicateErrorKind::Syntax(message), next.span));
        }
        Ok(expression)
    }

    /// Makes one quoted identifier of every word, colon and word that touch: SQL has no such token,
    /// and would cut `ICD10:E11.9` in four.
    fn join_terms(&self, tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
        let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
        let mut skip_until = 0;
        for (place, token) in tokens.iter().enumerate() {
            let start = column(token.span.start);
            if start < skip_until && token.token != Token::EOF {
                continue;
            }
            match self.term_end(&tokens[place..]) {
                Some(end) => {
                    let value: String = self.letters[start..end].iter().collect();
                    let word = Word { value, quote_style: Some(TERM_QUOTE), keyword: Keyword::NoKeyword };
                    joined.push(TokenWithSpan::new(Token::Word(word), span(start, end)));
                    skip_until = end;
                }
                None => joined.push(token.clone()),
            }
        }
        joined
    }

    /// Where the term ends that begins with the first of `tokens`.
    fn term_end(&self, tokens: &[TokenWithSpan]) -> Option<usize> {
        let [first, second, ..] = tokens else { return None };
        let is_prefix = matches!(&first.token, Token::Word(word) if word.quote_style.is_none());
        let colon = column(second.span.start);
        let touches = column(first.span.end) <= colon && self.letters.get(colon.checked_sub(1)?)?.is_alphanumeric();
        if !is_prefix || !touches || self.letters.get(colon) != Some(&':') {
            return None;
        }
        let length = self.letters[colon + 1..].iter().take_while(|letter| is_local(**letter)).count();
        (length > 0).then_some(colon + 1 + length)
    }

    fn syntax_error(&self, error: &ParserError, next: Span) -> PredicateError {
        let message = match error {
            ParserError::RecursionLimitExceeded => "parentheses are nested too deeply".to_owned(),
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
                // The parser appends the place to its message; the caret shows it.
                message.split(" at Line:").next().unwrap_or("not a predicate").to_lowercase()
            }
        };
        let place = match error {
            ParserError::ParserError(message) => message.rsplit("Column: ").next().and_then(|text| text.parse().ok()),
            _ => None,
        };
        let span = place.map_or(next, |column| Span::new(Location::new(1, column), Location::new(1, column + 1)));
        self.error_at(PredicateErrorKind::Syntax(message), span)
    }

    /// An error at an expression.
    pub(super) fn error(&self, kind: PredicateErrorKind, at: &impl Place) -> PredicateError {
        self.error_at(kind, at.place())
    }

    fn error_at(&self, kind: PredicateErrorKind, span: Span) -> PredicateError {
        let length = self.letters.len();
        // The parser gives the end of the text the empty place, line 0.
        let start = if span.start.line == 0 { length } else { column(span.start).min(length) };
        let end = column(span.end).clamp(start, length);
        PredicateError::new(kind, &self.text, start, (end - start).max(1))
    }

    /// The text of an expression as written.
    pub(super) fn excerpt(&self, at: &impl Place) -> String {
        let span = at.place();
        let start = column(span.start).min(self.letters.len());
        let end = column(span.end).clamp(start, self.letters.len());
        self.letters[start..end].iter().collect()
    }

    pub(super) fn check_selects_some(&self, diagram: &DecisionDiagram) -> Result<(), PredicateError> {
        let kind = match diagram.root() {
            Link::Nobody => PredicateErrorKind::Nobody,
            Link::Everybody => PredicateErrorKind::Everybody,
            Link::Node(_) => return Ok(()),
        };
        Err(PredicateError::new(kind, &self.text, 0, self.letters.len()))
    }

    /// The error for comparisons that were replaced by their nearest.
    pub(super) fn inexpressible(&self, substitutions: &[Substitution], nearest: String) -> PredicateError {
        let Some(first) = substitutions.first() else {
            return PredicateError::without_text(PredicateErrorKind::Nobody);
        };
        let kind = PredicateErrorKind::Inexpressible {
            attribute: first.attribute.clone(),
            asked: first.asked.clone(),
            edges: first.edges.clone(),
            nearest,
        };
        self.error_at(kind, first.span)
    }
}

fn column(location: Location) -> usize {
    usize::try_from(location.column.saturating_sub(1)).unwrap_or(usize::MAX)
}

fn span(start: usize, end: usize) -> Span {
    let location = |column: usize| Location::new(1, u64::try_from(column).unwrap_or(u64::MAX).saturating_add(1));
    Span::new(location(start), location(end))
}

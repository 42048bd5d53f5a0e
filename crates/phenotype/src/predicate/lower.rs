//! From an expression to a decision diagram.
//!
//! Logic has three values, as in SQL: a comparison with an unknown attribute is neither true nor
//! false. Every subexpression is asked for the people of whom it is *true*, or of whom it is *false*
//! (below an odd number of NOTs); nobody else is selected.

use super::{
    PREDICATE_ATTRIBUTES_MAX, PREDICATE_NODES_MAX,
    decision::{Combination, DecisionDiagram, DiagramBuilder, Link},
    error::{PredicateError, PredicateErrorKind},
    parse::{Place, Source, TERM_QUOTE},
    values::ValueSet,
};
use crate::{
    curie::Curie,
    decimal::Decimal,
    schema::{Attribute, AttributeIndex, AttributeKey, AttributeKind, AttributeSchema, Edge},
};
use sqlparser::{
    ast::{BinaryOperator, Expr, Ident, UnaryOperator, Value},
    tokenizer::Span,
};

/// A comparison that was replaced by its nearest.
pub(super) struct Substitution {
    pub(super) attribute: String,
    pub(super) asked: String,
    pub(super) edges: Vec<String>,
    pub(super) span: Span,
}

pub(super) struct Lowered {
    pub(super) diagram: DecisionDiagram,
    pub(super) substitutions: Vec<Substitution>,
}

pub(super) fn lower(source: &Source, expression: &Expr, schema: &AttributeSchema) -> Result<Lowered, PredicateError> {
    let mut lowering = Lowering { source, schema, builder: DiagramBuilder::default(), substitutions: Vec::new() };
    let root = lowering.lower(expression, true)?;
    let too_complex = || PredicateErrorKind::TooComplex { max: PREDICATE_NODES_MAX };
    let diagram = lowering.builder.finish(root).map_err(|_| source.error(too_complex(), expression))?;
    if diagram.attributes().len() > PREDICATE_ATTRIBUTES_MAX {
        let kind = PredicateErrorKind::TooManyAttributes { max: PREDICATE_ATTRIBUTES_MAX };
        return Err(source.error(kind, expression));
    }
    Ok(Lowered { diagram, substitutions: lowering.substitutions })
}

struct Lowering<'a> {
    source: &'a Source,
    schema: &'a AttributeSchema,
    builder: DiagramBuilder,
    substitutions: Vec<Substitution>,
}

/// Of which values a comparison is true, and of which it is false.
struct Truth {
    holds: ValueSet,
    fails: ValueSet,
}

/// How a number is compared.
#[derive(Clone, Copy)]
enum Comparison {
    Equal,
    Below,
    AtMost,
    Above,
    AtLeast,
}

type Lowers<T> = Result<T, PredicateError>;

impl<'a> Lowering<'a> {
    fn lower(&mut self, expression: &Expr, wanted: bool) -> Lowers<Link> {
        match expression {
            Expr::Nested(inner) => self.lower(inner, wanted),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.lower(expr, !wanted),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => self.both(left, right, wanted, expression),
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                // Whether a OR b is wanted: NOT (NOT a AND NOT b), in three-valued logic too.
                let how = if wanted { Combination::Or } else { Combination::And };
                let (left, right) = (self.lower(left, wanted)?, self.lower(right, wanted)?);
                self.combine(how, left, right, expression)
            }
            Expr::Identifier(name) => {
                let truths = self.flags(name)?.into_iter().map(|index| (index, flag_is(1))).collect();
                self.any_of(truths, wanted, expression)
            }
            Expr::IsNull(inner) | Expr::IsUnknown(inner) => self.is_value(inner, None, wanted),
            Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => self.is_value(inner, None, !wanted),
            Expr::IsTrue(inner) => self.is_value(inner, Some(1), wanted),
            Expr::IsNotTrue(inner) => self.is_value(inner, Some(1), !wanted),
            Expr::IsFalse(inner) => self.is_value(inner, Some(0), wanted),
            Expr::IsNotFalse(inner) => self.is_value(inner, Some(0), !wanted),
            Expr::BinaryOp { left, op, right } => self.comparison(left, op, right, wanted, expression),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, wanted != *negated, expression),
            Expr::Between { expr, negated, low, high } => {
                self.between(expr, [low, high], wanted != *negated, expression)
            }
            other => Err(self.unsupported(other)),
        }
    }

    fn both(&mut self, left: &Expr, right: &Expr, wanted: bool, at: &Expr) -> Lowers<Link> {
        let how = if wanted { Combination::And } else { Combination::Or };
        let (left, right) = (self.lower(left, wanted)?, self.lower(right, wanted)?);
        self.combine(how, left, right, at)
    }

    fn combine(&mut self, how: Combination, left: Link, right: Link, at: &Expr) -> Lowers<Link> {
        let too_complex = PredicateErrorKind::TooComplex { max: PREDICATE_NODES_MAX };
        self.builder.combine(how, left, right).map_err(|_| self.source.error(too_complex, at))
    }

    fn leaf(&mut self, index: AttributeIndex, values: &ValueSet, at: &Expr) -> Lowers<Link> {
        let too_complex = PredicateErrorKind::TooComplex { max: PREDICATE_NODES_MAX };
        self.builder.leaf(index, values).map_err(|_| self.source.error(too_complex, at))
    }

    /// True when one of the comparisons is, false when all are.
    fn any_of(&mut self, truths: Vec<(AttributeIndex, Truth)>, wanted: bool, at: &Expr) -> Lowers<Link> {
        let how = if wanted { Combination::Or } else { Combination::And };
        let mut all = if wanted { Link::Nobody } else { Link::Everybody };
        for (index, truth) in truths {
            let one = self.leaf(index, if wanted { &truth.holds } else { &truth.fails }, at)?;
            all = self.combine(how, all, one, at)?;
        }
        Ok(all)
    }

    /// IS TRUE, IS FALSE, IS UNKNOWN: always true or false themselves.
    fn is_value(&mut self, inner: &Expr, value: Option<usize>, wanted: bool) -> Lowers<Link> {
        let Expr::Identifier(name) = strip(inner) else {
            return Err(self.unsupported(inner));
        };
        if is_term(name) || value.is_some() {
            let indices = self.flags(name)?;
            return self.is_flag_value(&indices, value, wanted, inner);
        }
        let (index, attribute) = self.attribute(name)?;
        let unknown = attribute.unknown();
        let values = ValueSet::of(attribute.value_count(), |place| (place == unknown) == wanted);
        self.leaf(index, &values, inner)
    }

    /// A term may stand for several attributes: true when one is, false when all are, else unknown.
    fn is_flag_value(
        &mut self,
        flags: &[AttributeIndex],
        value: Option<usize>,
        wanted: bool,
        at: &Expr,
    ) -> Lowers<Link> {
        let mut is_true = Link::Nobody;
        let mut is_false = Link::Everybody;
        let mut is_not_true = Link::Everybody;
        let mut is_not_false = Link::Nobody;
        for index in flags {
            let [yes, not_yes, no, not_no] =
                [[1, 1], [0, 2], [0, 0], [1, 2]].map(|places| ValueSet::of(3, |place| places.contains(&place)));
            let (yes, not_yes) = (self.leaf(*index, &yes, at)?, self.leaf(*index, &not_yes, at)?);
            let (no, not_no) = (self.leaf(*index, &no, at)?, self.leaf(*index, &not_no, at)?);
            is_true = self.combine(Combination::Or, is_true, yes, at)?;
            is_not_true = self.combine(Combination::And, is_not_true, not_yes, at)?;
            is_false = self.combine(Combination::And, is_false, no, at)?;
            is_not_false = self.combine(Combination::Or, is_not_false, not_no, at)?;
        }
        match (value, wanted) {
            (Some(1), true) => Ok(is_true),
            (Some(1), false) => Ok(is_not_true),
            (Some(_), true) => Ok(is_false),
            (Some(_), false) => Ok(is_not_false),
            (None, true) => self.combine(Combination::And, is_not_true, is_not_false, at),
            (None, false) => self.combine(Combination::Or, is_true, is_false, at),
        }
    }

    fn comparison(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, wanted: bool, at: &Expr) -> Lowers<Link> {
        use Comparison::{Above, AtLeast, AtMost, Below, Equal};
        let (comparison, negated) = match op {
            BinaryOperator::Eq => (Equal, false),
            BinaryOperator::NotEq => (Equal, true),
            BinaryOperator::Lt => (Below, false),
            BinaryOperator::LtEq => (AtMost, false),
            BinaryOperator::Gt => (Above, false),
            BinaryOperator::GtEq => (AtLeast, false),
            _ => return Err(self.unsupported(at)),
        };
        if let (Expr::Identifier(name), literal) = (strip(left), strip(right)) {
            return self.compare(name, comparison, literal, wanted != negated, at);
        }
        // `50 <= age` says the same as `age >= 50`.
        let mirrored = match comparison {
            Equal => Equal,
            Below => Above,
            AtMost => AtLeast,
            Above => Below,
            AtLeast => AtMost,
        };
        match (strip(right), strip(left)) {
            (Expr::Identifier(name), literal) => self.compare(name, mirrored, literal, wanted != negated, at),
            _ => Err(self.unsupported(at)),
        }
    }

    fn compare(&mut self, name: &Ident, how: Comparison, literal: &Expr, wanted: bool, at: &Expr) -> Lowers<Link> {
        if is_term(name) {
            let place = self.flag_literal(name, how, literal)?;
            let truths = self.flags(name)?.into_iter().map(|index| (index, flag_is(place))).collect();
            // Not having a disease of a group means having none of it.
            return if place == 1 {
                self.any_of(truths, wanted, at)
            } else {
                self.lower_negated_term(name, wanted, at)
            };
        }
        let (index, attribute) = self.attribute(name)?;
        let truth = match &attribute.kind {
            AttributeKind::Flag => flag_is(self.flag_literal(name, how, literal)?),
            AttributeKind::Category { values } => self.category(attribute, values, how, literal)?,
            AttributeKind::Bands { .. } => self.bands(attribute, how, literal, at)?,
            AttributeKind::Quantity { .. } => return Err(self.comparison_error(attribute, literal)),
        };
        self.any_of(vec![(index, truth)], wanted, at)
    }

    fn lower_negated_term(&mut self, name: &Ident, wanted: bool, at: &Expr) -> Lowers<Link> {
        let truths = self.flags(name)?.into_iter().map(|index| (index, flag_is(1))).collect();
        self.any_of(truths, !wanted, at)
    }

    fn in_list(&mut self, inner: &Expr, list: &[Expr], wanted: bool, at: &Expr) -> Lowers<Link> {
        let Expr::Identifier(name) = strip(inner) else { return Err(self.unsupported(inner)) };
        let how = if wanted { Combination::Or } else { Combination::And };
        let mut all = if wanted { Link::Nobody } else { Link::Everybody };
        for literal in list {
            let one = self.compare(name, Comparison::Equal, strip(literal), wanted, literal)?;
            all = self.combine(how, all, one, at)?;
        }
        Ok(all)
    }

    fn between(&mut self, inner: &Expr, [low, high]: [&Expr; 2], wanted: bool, at: &Expr) -> Lowers<Link> {
        let Expr::Identifier(name) = strip(inner) else { return Err(self.unsupported(inner)) };
        let how = if wanted { Combination::And } else { Combination::Or };
        let low = self.compare(name, Comparison::AtLeast, strip(low), wanted, at)?;
        let high = self.compare(name, Comparison::AtMost, strip(high), wanted, at)?;
        self.combine(how, low, high, at)
    }

    fn category(&self, attribute: &Attribute, values: &[String], how: Comparison, literal: &Expr) -> Lowers<Truth> {
        let Comparison::Equal = how else { return Err(self.comparison_error(attribute, literal)) };
        let text = self.literal_text(attribute, literal)?;
        let Some(wanted) = values.iter().position(|value| *value == text) else {
            let known = values.iter().map(|value| format!("'{value}'")).collect();
            let kind =
                PredicateErrorKind::NoValue { attribute: attribute.key.to_string(), value: format!("'{text}'"), known };
            return Err(self.source.error(kind, literal));
        };
        Ok(known_split(attribute, |place| place == wanted))
    }

    fn bands(&mut self, attribute: &Attribute, how: Comparison, literal: &Expr, at: &Expr) -> Lowers<Truth> {
        let AttributeKind::Bands { edges, is_whole, .. } = &attribute.kind else {
            return Err(self.comparison_error(attribute, literal));
        };
        let value = self.number(attribute, literal)?;
        let first_at_least = |lowering: &mut Self| lowering.band_from(attribute, edges, *is_whole, (value, false), at);
        let first_above = |lowering: &mut Self| lowering.band_from(attribute, edges, *is_whole, (value, true), at);
        let unknown = attribute.unknown();
        let range = match how {
            Comparison::AtLeast => first_at_least(self)..unknown,
            Comparison::Above => first_above(self)..unknown,
            Comparison::Below => 0..first_at_least(self),
            Comparison::AtMost => 0..first_above(self),
            Comparison::Equal => first_at_least(self)..first_above(self),
        };
        Ok(known_split(attribute, |place| range.contains(&place)))
    }

    /// The first band of the values from (or above) `value`; the nearest one, noted, when no band
    /// begins there.
    fn band_from(
        &mut self,
        attribute: &Attribute,
        edges: &[Edge],
        is_whole: bool,
        (value, is_above): (Decimal, bool),
        at: &Expr,
    ) -> usize {
        let edge = if is_whole && (is_above || !value.is_whole()) {
            Edge { value: value.floor().next_whole(), is_above: false }
        } else {
            Edge { value, is_above }
        };
        if let Ok(place) = edges.binary_search(&edge) {
            return place + 1;
        }
        self.substitutions.push(Substitution {
            attribute: attribute.key.to_string(),
            asked: self.source.excerpt(at),
            edges: edges.iter().map(ToString::to_string).collect(),
            span: at.place(),
        });
        let nearest = edges
            .iter()
            .enumerate()
            .min_by_key(|(_, known)| (known.value.distance(edge.value), known.is_above != edge.is_above));
        nearest.map_or(0, |(place, _)| place + 1)
    }

    /// A number, perhaps with a unit in quotes.
    fn number(&self, attribute: &Attribute, literal: &Expr) -> Lowers<Decimal> {
        let fail = |message: String| self.source.error(PredicateErrorKind::Number(message), literal);
        let (negative, value) = match literal {
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => (true, strip(expr)),
            other => (false, other),
        };
        let Expr::Value(value) = value else { return Err(self.literal_error(attribute, literal)) };
        let text = match &value.value {
            Value::Number(text, _) => text.clone(),
            Value::SingleQuotedString(text) => text.trim().to_owned(),
            _ => return Err(self.literal_error(attribute, literal)),
        };
        let (digits, unit) =
            text.split_once(' ').map_or((text.as_str(), None), |(digits, unit)| (digits, Some(unit.trim())));
        let sign = if negative { "-" } else { "" };
        let number: Decimal = format!("{sign}{digits}").parse().map_err(|error| fail(format!("{error}")))?;
        match unit {
            Some(unit) => attribute.convert(number, unit).map_err(|error| fail(error.to_string())),
            None => Ok(number),
        }
    }

    fn literal_text(&self, attribute: &Attribute, literal: &Expr) -> Lowers<String> {
        if let Expr::Value(value) = literal {
            match &value.value {
                Value::SingleQuotedString(text) | Value::Number(text, _) => return Ok(text.clone()),
                _ => {}
            }
        }
        Err(self.literal_error(attribute, literal))
    }

    fn flag_literal(&self, name: &Ident, how: Comparison, literal: &Expr) -> Lowers<usize> {
        let rule = "is a flag: write it alone, or compare it with = true or = false";
        let error = || {
            let kind = PredicateErrorKind::Comparison { attribute: name.value.clone(), rule };
            self.source.error(kind, literal)
        };
        let (Comparison::Equal, Expr::Value(value)) = (how, literal) else { return Err(error()) };
        match &value.value {
            Value::Boolean(flag) => Ok(usize::from(*flag)),
            Value::SingleQuotedString(text) if text == "yes" => Ok(1),
            Value::SingleQuotedString(text) if text == "no" => Ok(0),
            _ => Err(error()),
        }
    }

    /// The flags that a name stands for: several for a term above those of the schema.
    fn flags(&self, name: &Ident) -> Lowers<Vec<AttributeIndex>> {
        if is_term(name) {
            let number = |error: crate::PhenotypeError| PredicateErrorKind::Number(error.to_string());
            let term: Curie = name.value.parse().map_err(|error| self.source.error(number(error), name))?;
            let flags = self.schema.attributes_of_term(&term);
            if flags.is_empty() {
                return Err(self.source.error(PredicateErrorKind::NoTerm(term.to_string()), name));
            }
            return Ok(flags);
        }
        let (index, attribute) = self.attribute(name)?;
        if attribute.kind == AttributeKind::Flag {
            Ok(vec![index])
        } else {
            Err(self.comparison_error(attribute, name))
        }
    }

    fn attribute(&self, name: &Ident) -> Lowers<(AttributeIndex, &'a Attribute)> {
        let index = self.schema.find_named(&name.value);
        match index.and_then(|index| Some((index, self.schema.attribute(index)?))) {
            Some(found) => Ok(found),
            None => Err(self.source.error(self.no_attribute(&name.value), name)),
        }
    }

    fn no_attribute(&self, name: &str) -> PredicateErrorKind {
        let wanted = name.to_ascii_lowercase();
        let names: Vec<String> = self.schema.attributes().map(|(_, attribute)| attribute.key.to_string()).collect();
        let is_like = |known: &&String| known.contains(&wanted) || wanted.contains(known.as_str());
        let alike: Vec<String> = names.iter().filter(is_like).take(8).cloned().collect();
        let known = if alike.is_empty() { names.into_iter().take(8).collect() } else { alike };
        PredicateErrorKind::NoAttribute { name: name.to_owned(), known }
    }

    fn comparison_error(&self, attribute: &Attribute, at: &impl Place) -> PredicateError {
        let rule = match attribute.kind {
            AttributeKind::Category { .. } => "is a category: compare it by =, <>, in or is unknown",
            AttributeKind::Flag => "is a flag: write it alone, or compare it with = true or = false",
            AttributeKind::Bands { .. } => "is a number: compare it with one",
            AttributeKind::Quantity { .. } => {
                "is a quantity for regression: only is unknown and is not unknown can be asked"
            }
        };
        let kind = PredicateErrorKind::Comparison { attribute: attribute.key.to_string(), rule };
        self.source.error(kind, at)
    }

    fn literal_error(&self, attribute: &Attribute, literal: &Expr) -> PredicateError {
        if let (Expr::Identifier(name), AttributeKey::Named(_)) = (literal, &attribute.key) {
            let message = format!("values stand in single quotes: '{}'", name.value);
            return self.source.error(PredicateErrorKind::Syntax(message), literal);
        }
        self.comparison_error(attribute, literal)
    }

    fn unsupported(&self, expression: &Expr) -> PredicateError {
        let excerpt = self.source.excerpt(expression);
        self.source.error(PredicateErrorKind::Unsupported(excerpt), expression)
    }
}

fn strip(expression: &Expr) -> &Expr {
    match expression {
        Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

fn is_term(name: &Ident) -> bool {
    name.quote_style == Some(TERM_QUOTE) && name.value.contains(':')
}

/// A flag's values are no, yes, unknown.
fn flag_is(place: usize) -> Truth {
    Truth { holds: ValueSet::of(3, |value| value == place), fails: ValueSet::of(3, |value| value == 1 - place) }
}

/// True of the known values that hold, false of the other known ones.
fn known_split(attribute: &Attribute, holds: impl Fn(usize) -> bool) -> Truth {
    let (count, unknown) = (attribute.value_count(), attribute.unknown());
    Truth {
        holds: ValueSet::of(count, |value| value != unknown && holds(value)),
        fails: ValueSet::of(count, |value| value != unknown && !holds(value)),
    }
}

//! A query as a tree.

use super::super::series::Matcher;

/// A node of the tree. Times are milliseconds.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Number(f64),
    /// The last value of each series.
    Instant(Selector),
    /// The values of each series in a window of that length.
    Range(Selector, i64),
    Negated(Box<Expression>),
    Binary(Box<Binary>),
    Aggregation(Aggregation),
    Call(Function, Vec<Expression>),
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Scalar,
    Vector,
    Range,
}

impl Shape {
    pub(super) fn name(self) -> &'static str {
        match self {
            Shape::Scalar => "a scalar",
            Shape::Vector => "an instant vector",
            Shape::Range => "a range vector",
        }
    }
}

impl Expression {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Expression::Number(_) => Shape::Scalar,
            Expression::Instant(_) | Expression::Aggregation(_) => Shape::Vector,
            Expression::Range(..) => Shape::Range,
            Expression::Negated(inner) => inner.shape(),
            Expression::Binary(binary) => match (binary.left.shape(), binary.right.shape()) {
                (Shape::Scalar, Shape::Scalar) => Shape::Scalar,
                (Shape::Scalar | Shape::Vector | Shape::Range, Shape::Scalar | Shape::Vector | Shape::Range) => {
                    Shape::Vector
                }
            },
            Expression::Call(function, _) => function.signature().1,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Selector {
    pub(super) matchers: Vec<Matcher>,
    pub(super) offset: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Binary {
    pub(super) operator: Operator,
    pub(super) left: Expression,
    pub(super) right: Expression,
    pub(super) matching: Matching,
    /// A comparison gives 0 or 1 and drops nothing.
    pub(super) returns_bool: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Arithmetic(Arithmetic),
    Comparison(Comparison),
    Set(SetOperator),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetOperator {
    And,
    Or,
    Unless,
}

/// Which labels tell what belongs together.
#[derive(Clone, Debug)]
pub(super) enum Matching {
    On(Vec<String>),
    Ignoring(Vec<String>),
}

#[derive(Clone, Debug)]
pub(super) struct Aggregation {
    pub(super) operator: Aggregate,
    pub(super) grouping: Grouping,
    pub(super) of: Box<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Minimum,
    Maximum,
    Count,
}

#[derive(Clone, Debug)]
pub(super) enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

macro_rules! functions {
    ($($variant:ident $name:literal ($($argument:ident),*) -> $shape:ident, optional $optional:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($variant),+ }

        impl Function {
            pub(super) fn by_name(name: &str) -> Option<Function> {
                match name { $($name => Some(Function::$variant),)+ _ => None }
            }

            pub(super) fn name(self) -> &'static str {
                match self { $(Function::$variant => $name),+ }
            }

            /// What it takes, what it gives, and how many of the last arguments may be left out.
            pub(super) fn signature(self) -> (&'static [Shape], Shape, usize) {
                match self { $(Function::$variant => (&[$(Shape::$argument),*], Shape::$shape, $optional)),+ }
            }
        }
    };
}

functions! {
    Rate "rate" (Range) -> Vector, optional 0;
    Increase "increase" (Range) -> Vector, optional 0;
    InstantRate "irate" (Range) -> Vector, optional 0;
    Delta "delta" (Range) -> Vector, optional 0;
    AverageOverTime "avg_over_time" (Range) -> Vector, optional 0;
    SumOverTime "sum_over_time" (Range) -> Vector, optional 0;
    MinimumOverTime "min_over_time" (Range) -> Vector, optional 0;
    MaximumOverTime "max_over_time" (Range) -> Vector, optional 0;
    CountOverTime "count_over_time" (Range) -> Vector, optional 0;
    LastOverTime "last_over_time" (Range) -> Vector, optional 0;
    HistogramQuantile "histogram_quantile" (Scalar, Vector) -> Vector, optional 0;
    Absent "absent" (Vector) -> Vector, optional 0;
    Clamp "clamp" (Vector, Scalar, Scalar) -> Vector, optional 0;
    ClampMinimum "clamp_min" (Vector, Scalar) -> Vector, optional 0;
    ClampMaximum "clamp_max" (Vector, Scalar) -> Vector, optional 0;
    Round "round" (Vector, Scalar) -> Vector, optional 1;
    Absolute "abs" (Vector) -> Vector, optional 0;
    Ceiling "ceil" (Vector) -> Vector, optional 0;
    Floor "floor" (Vector) -> Vector, optional 0;
    Scalar "scalar" (Vector) -> Scalar, optional 0;
    Vector "vector" (Scalar) -> Vector, optional 0;
    Time "time" () -> Scalar, optional 0;
}

/// Functions of Prometheus that are not spoken here, so that they are told from words that nobody knows.
pub(super) const OTHER_FUNCTIONS: &[&str] = &[
    "absent_over_time",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "changes",
    "cos",
    "cosh",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "deriv",
    "double_exponential_smoothing",
    "exp",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "hour",
    "idelta",
    "info",
    "label_join",
    "label_replace",
    "ln",
    "log10",
    "log2",
    "mad_over_time",
    "minute",
    "month",
    "pi",
    "predict_linear",
    "present_over_time",
    "quantile_over_time",
    "rad",
    "resets",
    "sgn",
    "sin",
    "sinh",
    "sort",
    "sort_by_label",
    "sort_by_label_desc",
    "sort_desc",
    "sqrt",
    "stddev_over_time",
    "stdvar_over_time",
    "tan",
    "tanh",
    "timestamp",
    "year",
];

/// The same of aggregations.
pub(super) const OTHER_AGGREGATIONS: &[&str] =
    &["bottomk", "count_values", "group", "limit_ratio", "limitk", "quantile", "stddev", "stdvar", "topk"];

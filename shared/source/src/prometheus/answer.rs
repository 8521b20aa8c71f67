//! What Prometheus answers.

use mesh_model::gate::{Sample, Series};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The series, without the label `__name__`; a scalar is one without labels. There may be none.
    pub series: Vec<Series>,
    /// What Prometheus, or Thanos before it, said of the answer, above all that a part of it is missing. A gate
    /// must not pass on such an answer.
    pub warnings: Vec<String>,
}

/// A reply of the HTTP API, or a `Status` of the API server on the way.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    /// `success` or `error`; the API server's is `Failure`.
    pub(crate) status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    warnings: Vec<String>,
    /// The sort of an error: `bad_data`, `timeout`, `execution`, ...
    #[serde(default, rename = "errorType")]
    pub(crate) error_type: String,
    /// The error's words.
    #[serde(default)]
    pub(crate) error: String,
    /// `Status`, if it is the API server's.
    #[serde(default)]
    pub(crate) kind: String,
    /// The API server's words.
    #[serde(default)]
    pub(crate) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<InstantSeries>),
    Matrix(Vec<RangeSeries>),
    Scalar(Point),
    String(IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct InstantSeries {
    metric: mesh_model::gate::Labels,
    value: Point,
}

#[derive(Debug, Deserialize)]
struct RangeSeries {
    metric: mesh_model::gate::Labels,
    values: Vec<Point>,
}

#[derive(Debug)]
struct Point(Sample);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (at, text) = <(f64, String)>::deserialize(deserializer)?;
        let value = number(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no number")))?;
        Ok(Self(Sample { at, value }))
    }
}

/// A number as Go's `strconv.FormatFloat` writes it.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        // Rust would read `inf` and `nan` as well.
        _ if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => text.parse().ok(),
        _ => None,
    }
}

impl Reply {
    /// The answer in a reply that is a success.
    pub(crate) fn answer(self) -> Result<Answer, String> {
        let series = match self.data {
            Some(Data::Vector(series)) => {
                series.into_iter().map(|one| of(one.metric, vec![one.value])).collect()
            }
            Some(Data::Matrix(series)) => series.into_iter().map(|one| of(one.metric, one.values)).collect(),
            Some(Data::Scalar(point)) => vec![of(mesh_model::gate::Labels::new(), vec![point])],
            Some(Data::String(_)) => return Err("the query gives a text, not numbers".into()),
            None => return Err("it has no data".into()),
        };
        Ok(Answer { series, warnings: self.warnings })
    }
}

fn of(mut labels: mesh_model::gate::Labels, points: Vec<Point>) -> Series {
    labels.remove("__name__");
    Series { labels, samples: points.into_iter().map(|point| point.0).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Answer, String> {
        serde_json::from_str::<Reply>(json).map_err(|error| error.to_string())?.answer()
    }

    fn vector(point: &str) -> Result<Answer, String> {
        read(&format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{"__name__":"x","a":"b"}},"value":{point}}}]}},"warnings":["w"]}}"#
        ))
    }

    #[test]
    fn numbers_are_strings() {
        let answer = vector(r#"[1.5,"2"]"#).unwrap();
        assert_eq!(answer.series[0].labels, [("a".to_owned(), "b".to_owned())].into());
        assert_eq!(answer.series[0].samples, [Sample { at: 1.5, value: 2.0 }]);
        assert_eq!(answer.warnings, ["w"]);
        let value = |text: &str| vector(text).unwrap().series[0].samples[0].value;
        assert!(value(r#"[1,"NaN"]"#).is_nan());
        assert_eq!(value(r#"[1,"+Inf"]"#), f64::INFINITY);
        assert_eq!(value(r#"[1,"-1.5e-07"]"#), -1.5e-7);
        for bad in ["[1,2]", r#"[1,"inf"]"#, r#"[1,"nan"]"#, r#"[1,""]"#, r#"["1","2"]"#, "[1]", "null"] {
            assert!(vector(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for bad in [
            "{}",
            "[]",
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#,
            r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#,
            // A native histogram has no value.
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

//! Labels and what selects by them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Labels or annotations.
pub type Labels = BTreeMap<String, String>;

/// The string entries of a JSON mapping.
#[must_use]
pub fn labels(value: Option<&Value>) -> Labels {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A selector by equality: every label must be there with its value; an empty one selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(Labels);

impl Selector {
    /// Istio's `selector.matchLabels` and `workloadSelector.labels`, Kubernetes' `spec.selector`.
    #[must_use]
    pub fn match_labels(value: Option<&Value>) -> Self {
        Self(labels(value))
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it selects something with these labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// The labels it asks for.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.0
    }
}

/// A Kubernetes label selector with `matchLabels` and `matchExpressions`
/// (`meta/v1.LabelSelector`), as in `meshConfig.discoverySelectors`.
#[must_use]
pub fn selector_matches(selector: &Value, labels: &Labels) -> bool {
    let by_labels = Selector::match_labels(selector.get("matchLabels")).selects(labels);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    by_labels
        && expressions.into_iter().flatten().all(|expression| {
            let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
            let listed = |value: &String| {
                let values = expression.get("values").and_then(Value::as_array);
                values.is_some_and(|values| values.iter().any(|v| v.as_str() == Some(value)))
            };
            match expression.get("operator").and_then(Value::as_str) {
                Some("In") => labels.get(key).is_some_and(listed),
                Some("NotIn") => !labels.get(key).is_some_and(listed),
                Some("Exists") => labels.contains_key(key),
                Some("DoesNotExist") => !labels.contains_key(key),
                _ => false,
            }
        })
}

impl From<Labels> for Selector {
    fn from(labels: Labels) -> Self {
        Self(labels)
    }
}

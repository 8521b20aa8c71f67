//! Envoy's RBAC policies as compiled rules.
//!
//! `envoy.config.rbac.v3`, in the words of the admin interface, whose JSON has the protocol's own names.
//! How Istio makes them: `pilot/pkg/security/authz/model` and `builder`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::expression::Expression;
use super::text;
use crate::authorization::attribute::Attribute;
use crate::authorization::compile::{CompiledRule, Protocol};
use crate::authorization::condition::{Condition, Matcher};
use crate::mesh_config::list;
use crate::pattern::Pattern;
use crate::version::Profile;

/// What Istio puts before the ids of CUSTOM rules, the provider's name behind it (`extauthz.go`).
const CUSTOM_PREFIX: &str = "istio-ext-authz-";

/// What it puts behind them where the provider cannot be asked.
const BAD_CUSTOM_SUFFIX: &str = "-deny-due-to-bad-CUSTOM-action";

/// Reads the policies of RBAC rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    /// The kind of chain.
    pub(super) protocol: Protocol,
    /// How path templates are read.
    pub(super) profile: &'a Profile,
    /// Whether no token has been validated yet where these rules stand.
    pub(super) before_tokens: bool,
}

/// The rules of a policy list, without those that match nothing.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// The rules; `policy` counts from the number given, `index` is 0.
    pub(super) rules: Vec<CompiledRule>,
    /// What could not be read, with the rule that it is in.
    pub(super) unreadable: Vec<String>,
}

impl Reader<'_> {
    /// Reads `rules` or `shadow_rules`. `first` is the number that the first rule gets.
    pub(super) fn rules(&self, rules: &Value, first: usize) -> Rules {
        let mut read = Rules::default();
        for (name, policy) in rules.get("policies").and_then(Value::as_object).into_iter().flatten() {
            let mut unreadable = Vec::new();
            let mut to = self.side(policy, "permissions", &mut unreadable);
            let from = self.side(policy, "principals", &mut unreadable);
            // What restricts further, in a language that Istio never uses here.
            for field in ["condition", "checked_condition", "cel_config"] {
                if policy.get(field).is_some() {
                    let unknown = Expression::Unreadable(format!("`{field}`")).lists(&mut unreadable);
                    to.iter_mut().for_each(|list| list.extend(unknown.iter().flatten().cloned()));
                }
            }
            let (id, provider) = rule_id(name);
            read.unreadable.extend(unreadable.iter().map(|what| format!("{what} in rule {id}")));
            // `rules: []` becomes a policy that matches never (`rbacPolicyMatchNever`).
            if to.is_empty() || from.is_empty() {
                continue;
            }
            let policy = first + read.rules.len();
            read.rules.push(CompiledRule { policy, index: 0, id, from, to, provider });
        }
        read
    }

    fn side(&self, policy: &Value, field: &str, unreadable: &mut Vec<String>) -> Vec<Vec<Condition>> {
        let parts = list(policy.get(field)).iter().map(|part| self.expression(part)).collect();
        Expression::any(parts).lists(unreadable)
    }

    /// A Permission or a Principal: both are objects with one field, and share most of them.
    fn expression(&self, part: &Value) -> Expression {
        let unreadable = |what: &str| Expression::Unreadable(what.to_owned());
        let Some((kind, value)) = part.as_object().and_then(|fields| fields.iter().next()) else {
            return unreadable("an empty condition");
        };
        let parts = |field: &str| list(value.get(field)).iter().map(|part| self.expression(part)).collect();
        let read = match kind.as_str() {
            "any" => value.as_bool().map(Expression::Constant),
            "and_rules" => Some(Expression::all(parts("rules"))),
            "or_rules" => Some(Expression::any(parts("rules"))),
            "and_ids" => Some(Expression::all(parts("ids"))),
            "or_ids" => Some(Expression::any(parts("ids"))),
            "not_rule" | "not_id" => Some(Expression::Not(Box::new(self.expression(value)))),
            "header" => header(value),
            "url_path" => {
                let patterns = value.get("path").and_then(text::patterns);
                patterns.map(|patterns| compare(Attribute::Path, patterns, Matcher::Path))
            }
            "uri_template" => self.template(value),
            "destination_port" => value
                .as_u64()
                .and_then(|port| u16::try_from(port).ok())
                .map(|port| Expression::Compare(Attribute::DestinationPort, vec![Matcher::Port(port)])),
            "destination_ip" => block(Attribute::DestinationIp, value),
            "requested_server_name" => {
                text::patterns(value).map(|patterns| compare(Attribute::Sni, patterns, Matcher::Text))
            }
            "source_ip" | "direct_remote_ip" => block(Attribute::SourceIp, value),
            // Without headers the client is the peer.
            "remote_ip" if self.protocol == Protocol::Tcp => block(Attribute::SourceIp, value),
            "remote_ip" => block(Attribute::RemoteIp, value),
            "authenticated" => match value.get("principal_name") {
                None => Some(compare(Attribute::Principal, vec![Pattern::Present], Matcher::Text)),
                Some(name) => principal(name),
            },
            "filter_state" if value.get("key").and_then(Value::as_str) == Some("io.istio.peer_principal") => {
                value.get("string_match").and_then(principal)
            }
            "metadata" => self.metadata(value),
            "sourced_metadata" if value.get("metadata_source").is_none() => {
                value.get("metadata_matcher").and_then(|matcher| self.metadata(matcher))
            }
            _ => None,
        };
        read.unwrap_or_else(|| unreadable(&format!("a condition `{kind}`")))
    }

    /// `uri_template`: `*` is one segment and `**` any number, where they are a segment of their own
    /// (`matcher/template.go`); inside a segment Envoy reads them in a way of its own.
    fn template(&self, value: &Value) -> Option<Expression> {
        let template = value.pointer("/typed_config/path_template")?.as_str()?;
        let segments: Option<Vec<&str>> = template
            .split('/')
            .map(|segment| match segment {
                "*" => Some("{*}"),
                "**" => Some("{**}"),
                inside if inside.contains(['*', '{', '}']) => None,
                literal => Some(literal),
            })
            .collect();
        let pattern = match segments?.join("/") {
            path if crate::pattern::is_template(&path) => Pattern::path(&path, self.profile),
            path => Pattern::Exact(path.into()),
        };
        Some(compare(Attribute::Path, vec![text::canonical(&pattern)], Matcher::Path))
    }

    /// What filters left behind: the claims of a token, else what nobody outside knows.
    fn metadata(&self, value: &Value) -> Option<Expression> {
        if value.get("invert").and_then(Value::as_bool) == Some(true) {
            return None;
        }
        let filter = value.get("filter")?.as_str()?;
        let path: Option<Vec<&str>> =
            list(value.get("path")).iter().map(|segment| segment.get("key")?.as_str()).collect();
        let path = path?;
        let value = value.get("value")?;
        let claim = match path.as_slice() {
            ["payload", claim @ ..] if filter == "envoy.filters.http.jwt_authn" => claim,
            // `experimental.envoy.filters.NAME[KEY]`. Others, such as `istio_authn` of old versions, are not
            // known to the model.
            [key] => {
                let name = filter.strip_prefix("envoy.filters.")?;
                let attribute = Attribute::Metadata(format!("{name}[{key}]").into());
                return Some(compare(attribute, values(value)?, Matcher::Text));
            }
            _ => return None,
        };
        let attribute = Attribute::claim(claim);
        if let Some(one) = value.get("string_match") {
            // A list is no string: only claims that are strings are compared so.
            if self.before_tokens {
                return Some(Expression::Constant(false));
            }
            return match (attribute, text::patterns(one)?.as_slice()) {
                (Attribute::Issuer, [pattern]) => {
                    Some(Expression::HalfToken(Attribute::Issuer, pattern.clone()))
                }
                (Attribute::Subject, [pattern]) => {
                    Some(Expression::HalfToken(Attribute::Subject, pattern.clone()))
                }
                _ => None,
            };
        }
        // A member of a list, or the string itself (`MetadataListValueMatcher` with `useExtendedJwt`).
        let either = list(value.pointer("/or_match/value_matchers"));
        let [member, itself] = either else { return None };
        if member.pointer("/list_match/one_of") != Some(itself) {
            return None;
        }
        if self.before_tokens {
            return Some(Expression::Constant(false));
        }
        Some(compare(attribute, values(itself)?, Matcher::Text))
    }
}

/// The id as the model has it, and the provider of a CUSTOM rule.
fn rule_id(name: &str) -> (String, Option<String>) {
    let name = name.strip_suffix(BAD_CUSTOM_SUFFIX).unwrap_or(name);
    match name.strip_prefix(CUSTOM_PREFIX).and_then(|rest| Some((rest, rest.find("ns[")?))) {
        Some((rest, at)) => {
            let (provider, id) = rest.split_at(at);
            (id.to_owned(), Some(provider.trim_end_matches('-').to_owned()))
        }
        None => (name.to_owned(), None),
    }
}

fn compare(attribute: Attribute, patterns: Vec<Pattern>, matcher: fn(Pattern) -> Matcher) -> Expression {
    Expression::Compare(attribute, patterns.into_iter().map(matcher).collect())
}

fn principal(matcher: &Value) -> Option<Expression> {
    Some(compare(Attribute::Principal, text::principals(matcher)?, Matcher::Text))
}

/// `envoy.config.route.v3.HeaderMatcher`; also the fields that older versions of Istio used.
fn header(value: &Value) -> Option<Expression> {
    let is = |field: &str| value.get(field).and_then(Value::as_bool) == Some(true);
    if is("invert_match") || is("treat_missing_header_as_empty") {
        return None;
    }
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    let patterns = if let Some(matcher) = value.get("string_match") {
        text::patterns(matcher)?
    } else if is("present_match") {
        vec![Pattern::Present]
    } else if let Some(exact) = text("exact_match") {
        vec![Pattern::Exact(exact.into())]
    } else if let Some(prefix) = text("prefix_match") {
        vec![Pattern::Prefix(prefix.into())]
    } else {
        vec![Pattern::Suffix(text("suffix_match")?.into())]
    };
    Some(compare(Attribute::header(value.get("name")?.as_str()?), patterns, Matcher::Text))
}

/// `envoy.config.core.v3.CidrRange`; a length of 0 is not printed.
fn block(attribute: Attribute, value: &Value) -> Option<Expression> {
    let address: IpAddr = value.get("address_prefix")?.as_str()?.parse().ok()?;
    let length = match value.get("prefix_len") {
        None => 0,
        Some(length) => u8::try_from(length.as_u64()?).ok()?,
    };
    let block = IpNet::new(address, length).ok()?;
    Some(Expression::Compare(attribute, vec![Matcher::Block(block)]))
}

/// The strings of a ValueMatcher: one, or one of several, itself or as a member of a list.
fn values(value: &Value) -> Option<Vec<Pattern>> {
    if let Some(matcher) = value.get("string_match") {
        return text::patterns(matcher);
    }
    if let Some(member) = value.pointer("/list_match/one_of") {
        return values(member);
    }
    let several = value.pointer("/or_match/value_matchers")?.as_array()?;
    let patterns: Option<Vec<Vec<Pattern>>> = several.iter().map(values).collect();
    Some(patterns?.into_iter().flatten().collect())
}

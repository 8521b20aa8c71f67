//! Tokens of the tests' own issuer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// Who signs tokens (RFC 7519, with EdDSA as in RFC 8037).
pub(crate) struct Issuer {
    name: String,
    key: Ed25519KeyPair,
}

impl Issuer {
    /// An issuer whose key is made from a seed.
    pub(crate) fn new(name: &str, seed: &[u8; 32]) -> Self {
        Self { name: name.to_owned(), key: Ed25519KeyPair::from_seed_unchecked(seed).unwrap() }
    }

    /// The public keys, as a RequestAuthentication has them inline.
    pub(crate) fn keys(&self) -> String {
        let point = URL_SAFE_NO_PAD.encode(self.key.public_key());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "lab", "x": point}]})
            .to_string()
    }

    /// A token about somebody, with more claims, which never expires.
    pub(crate) fn token(&self, subject: &str, claims: &Value) -> String {
        let mut body = claims.clone();
        body["iss"] = self.name.clone().into();
        body["sub"] = subject.into();
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let text =
            format!("{}.{}", encode(&json!({"alg": "EdDSA", "kid": "lab", "typ": "JWT"})), encode(&body));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }
}

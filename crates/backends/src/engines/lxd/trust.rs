//! Becoming a client that a server trusts, by a password (LXD up to 5) or by a token that is good for one use.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_core::{ConnectOptions, Error, ErrorKind, NodeUri, Result, Retry, Secret, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::connect::{self, Target};
use super::request::Request;
use super::server::Server;
use crate::tls::Fingerprint;

/// Why a server should trust a certificate that it does not know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Proof {
    /// The server's trust password.
    Password(Secret),
    /// A token that somebody who is trusted got from the server.
    Token(Secret),
}

/// What joining gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The server's URI, with the fingerprint of its certificate: what to connect to from now on.
    pub uri: String,
    /// The fingerprint of the server's certificate.
    pub server_fingerprint: String,
    /// Whether the server trusted the certificate before; the proof is then not used up.
    pub already: bool,
}

/// Makes the server at `uri` (`lxd+https`, `incus+https`, or a remote's name) trust the client certificate of the URI or
/// of `options`. A token says which server it is for; with a password the URI has to say it.
///
/// # Errors
/// `InvalidInput` when there is no client certificate or the token makes no sense, `Unauthenticated` when the server is
/// not the right one or refuses the proof, `Unavailable` when it cannot be reached.
pub async fn join(uri: &str, proof: &Proof, options: &ConnectOptions) -> Result<Joined> {
    let uri: NodeUri = uri.parse()?;
    let work = async {
        let target = Target::of(&uri, options)?.with_proof(proof)?;
        let Some(tls) = target.tls().cloned() else {
            return Err(Error::invalid("uri", "who may open the socket is trusted; there is nothing to join"));
        };
        let client = target.client("join", options)?;
        let deadline = connect::inner_deadline(options);
        let server: Server = Request::get(&[]).within(deadline).json(&client).await?;
        let already = server.trusts_us() || !ask(&client, &server, &target, proof).await?;
        Ok(Joined {
            uri: target.uri(),
            server_fingerprint: tls.shown().map(|shown| shown.to_string()).unwrap_or_default(),
            already,
        })
    };
    match tokio::time::timeout(options.deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(
            ErrorKind::DeadlineExceeded,
            format!("{uri} did not answer within {} s", options.deadline.as_secs_f64()),
        )),
    }
}

/// Asks to be trusted; `false` when we were already.
pub(super) async fn ask(client: &Client, server: &Server, target: &Target, proof: &Proof) -> Result<bool> {
    if target.identity().is_none() {
        return Err(Error::invalid(
            "certificate",
            "joining needs a client certificate: give certificate=FILE and key=FILE",
        ));
    }
    let body = match proof {
        Proof::Password(password) => json!({"type": "client", "password": password.expose()}),
        // Older servers take it for a password and look into it; newer ones have a word for it.
        Proof::Token(token) if server.has("explicit_trust_token") => {
            json!({"type": "client", "trust_token": token.expose()})
        }
        Proof::Token(token) => {
            json!({"type": "client", "password": token.expose(), "trust_token": token.expose()})
        }
    };
    match Request::post(&["certificates"]).body(&body).bytes(client).await {
        Ok(_) => Ok(true),
        Err(error) if already(&error) => Ok(false),
        Err(error) => Err(refused(error, proof)),
    }
}

fn already(error: &Error) -> bool {
    let message = error.message().to_lowercase();
    message.contains("already trusted") || message.contains("already in trust store")
}

/// Names what was wrong with the proof, as far as it can be known: servers say "not authorized" to most of it.
fn refused(error: Error, proof: &Proof) -> Error {
    let expired = error.message().to_lowercase().contains("expired");
    if !expired && !matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unauthenticated) {
        return error;
    }
    let words = match proof {
        Proof::Password(_) => {
            "the server refused the trust password: it is wrong, or the server has none (newer servers take tokens only)"
                .to_owned()
        }
        Proof::Token(token) => {
            let until = Token::decode(token).ok().and_then(|token| token.expires_at);
            match until {
                Some(until) if expired || until < Timestamp::now() => format!("the token has expired at {until}"),
                _ if expired => "the token has expired".to_owned(),
                _ => "the server refused the token: it is not one of its own, or was used before".to_owned(),
            }
        }
    };
    Error::new(ErrorKind::Unauthenticated, words).with_retry(Retry::Never)
}

/// What is in a token.
pub(super) struct Token {
    /// Of the server that made it.
    pub(super) fingerprint: Fingerprint,
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Written {
    fingerprint: String,
    expires_at: Option<String>,
}

impl Token {
    /// Reads it, without asking anybody.
    pub(super) fn decode(token: &Secret) -> Result<Self> {
        // What it holds is not repeated: it may be a mistyped token.
        let refuse = || Error::invalid("token", "is not a token of a server: base64 of a JSON document");
        let bytes = STANDARD.decode(token.expose().trim()).map_err(|_| refuse())?;
        let written: Written = serde_json::from_slice(&bytes).map_err(|_| refuse())?;
        // Servers write the first year of all when a token is good for ever.
        let expires_at =
            written.expires_at.filter(|time| !time.starts_with("0001-")).and_then(|time| time.parse().ok());
        Ok(Token { fingerprint: written.fingerprint.parse().map_err(|_| refuse())?, expires_at })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(json: &str) -> Secret {
        Secret::new(STANDARD.encode(json))
    }

    #[test]
    fn tokens_name_their_server_and_are_not_repeated() {
        let print = "d40e52752241c48372cbe9f1eb7085d811ef05a01db896abd5b674c3b2284982";
        let good = token(&format!(
            r#"{{"client_name":"t","fingerprint":"{print}","addresses":["h:8443"],"secret":"hunter2","expires_at":"0001-01-01T00:00:00Z"}}"#
        ));
        let decoded = Token::decode(&good).unwrap();
        assert_eq!((decoded.fingerprint.to_string().as_str(), decoded.expires_at), (print, None));
        for bad in [Secret::new("hunter2"), token("{}"), token(r#"{"fingerprint":"hunter2"}"#)] {
            let error = Token::decode(&bad).unwrap_err();
            assert_eq!(error.field(), Some("token"));
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn refusals_say_what_was_wrong() {
        let print = "0".repeat(64);
        let old = token(&format!(r#"{{"fingerprint":"{print}","expires_at":"2020-01-01T00:00:00Z"}}"#));
        let refusal = |kind, words: &'static str, proof: &Proof| refused(Error::new(kind, words), proof);
        let error = refusal(ErrorKind::PermissionDenied, "not authorized", &Proof::Token(old));
        assert!(error.message().contains("expired at 2020-01-01"), "{error}");
        let fresh = token(&format!(r#"{{"fingerprint":"{print}"}}"#));
        let error = refusal(ErrorKind::Unexpected, "Token has expired", &Proof::Token(fresh.clone()));
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthenticated, "the token has expired"));
        let error = refusal(ErrorKind::PermissionDenied, "not authorized", &Proof::Token(fresh));
        assert!(error.message().contains("used before"));
        let password = Proof::Password(Secret::new("hunter2"));
        let error = refusal(ErrorKind::PermissionDenied, "not authorized", &password);
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(!format!("{error:?}{password:?}").contains("hunter2"));
        assert_eq!(refusal(ErrorKind::Unavailable, "gone", &password).kind(), ErrorKind::Unavailable);
    }
}

//! Strong validators: a client that has an answer already is told so instead of being sent it again.

use std::hash::Hasher;

use actix_web::Error as ActixError;
use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;

/// A fingerprint of 128 bits. It guards against accidents, not against attacks: only the engines and the holder of the
/// token make what is hashed.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    let half = |salt: u8| {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(bytes);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(1), half(2))
}

/// Whether one of the client's validators is `etag`. `If-None-Match` compares weakly (RFC 9110, 13.1.2).
fn none_match(header: &str, etag: &str) -> bool {
    fn opaque(tag: &str) -> &str {
        tag.trim().trim_start_matches("W/")
    }
    header.trim() == "*" || header.split(',').any(|tag| opaque(tag) == opaque(etag))
}

/// Whether the client has no representation with this validator.
pub(crate) fn wants_other(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let etag = etag.to_str().unwrap_or_default();
    let mut given = headers.get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    !given.any(|given| none_match(given, etag))
}

/// Gives JSON answers to GET an `ETag` of the bytes that are sent (hence outside of compression), unless the handler
/// gave one, and answers 304 when the client has it.
pub(crate) async fn validate<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    if req.method() != Method::GET {
        return Ok(next.call(req).await?.map_into_boxed_body());
    }
    let response = next.call(req).await?.map_into_boxed_body();
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if !json || response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let (body, etag) = match response.headers().get(header::ETAG).cloned() {
        Some(given) => (body, given),
        None => {
            // What was made in memory is not copied. There is no stream here that could be without end.
            let bytes = match body.try_into_bytes() {
                Ok(bytes) => bytes,
                Err(body) => to_bytes(body).await.map_err(actix_web::error::ErrorInternalServerError)?,
            };
            let etag = HeaderValue::from_str(&format!("\"{}\"", fingerprint(&bytes)))
                .map_err(actix_web::error::ErrorInternalServerError)?;
            response.headers_mut().insert(header::ETAG, etag.clone());
            (BoxBody::new(bytes), etag)
        }
    };
    if !wants_other(request.headers(), &etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::CONTENT_ENCODING);
        return Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(()))));
    }
    Ok(ServiceResponse::new(request, response.set_body(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_compare_weakly() {
        assert!(none_match("\"a\", W/\"b\"", "\"b\""));
        assert!(none_match("\"b\"", "W/\"b\""));
        assert!(none_match("*", "\"b\""));
        assert!(!none_match("\"a\"", "\"b\""));
        assert_ne!(fingerprint(b"a"), fingerprint(b"b"));
    }
}

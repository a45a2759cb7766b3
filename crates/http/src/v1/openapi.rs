//! The OpenAPI document, made from the routes themselves, and what is derived from it: which methods a path has.

use std::sync::OnceLock;

use actix_web::http::Method;
use actix_web::http::header::ContentType;
use actix_web::{App as ActixApp, HttpRequest, HttpResponse, get};
use bytes::Bytes;
use roadstead_core::{ERROR_TABLE, Error, ErrorKind};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder, Type,
};
use utoipa_actix_web::AppExt;

use crate::dialects::Door;
use crate::extract::{Nothing, Query};
use crate::idempotency::KEY_NAME;
use crate::precondition::{IF_MATCH, IF_NONE_MATCH, takes_if_match, takes_if_none_match};
use crate::problem::{Answer, Document, HTTP_ROWS, PROBLEM_JSON, Problem};
use crate::routes::{changes, methods, takes_stream};

/// This document.
#[utoipa::path(tag = "documentation", operation_id = "openapi", responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)))]
#[get("/openapi.json")]
pub(crate) async fn serve_document(_: Query<Nothing>) -> Answer {
    static BODY: OnceLock<Bytes> = OnceLock::new();
    let body = match BODY.get() {
        Some(body) => body.clone(),
        None => {
            let body =
                serde_json::to_vec(&openapi()).map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))?;
            BODY.get_or_init(|| body.into()).clone()
        }
    };
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body))
}

/// The document of all routes, made anew: whoever needs a part of it keeps that, since the whole takes megabytes.
#[must_use]
pub fn openapi() -> OpenApi {
    let base = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Roadstead")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some("One API over every container engine."))
                .build(),
        )
        .build();
    let (_, mut document) =
        ActixApp::new().into_utoipa_app().openapi(base).configure(super::documented).split_for_parts();
    complete(&mut document);
    document
}

/// What is the same for every route: the identity that is wanted, and the problems that may be answered.
fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.responses.insert("Problem".to_owned(), RefOr::T(problem_response()));
    let mut schemas = Vec::new();
    <Document as utoipa::ToSchema>::schemas(&mut schemas);
    schemas.push((<Document as utoipa::ToSchema>::name().into_owned(), <Document as utoipa::PartialSchema>::schema()));
    components.schemas.extend(schemas);
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
    for (path, item) in &mut document.paths.paths {
        let open = crate::auth::OPEN.contains(&path.as_str());
        let operations = [
            (Method::GET, &mut item.get),
            (Method::PUT, &mut item.put),
            (Method::POST, &mut item.post),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                add_problems(operation, open);
                add_headers(operation, &method);
            }
        }
    }
}

fn problem_response() -> Response {
    ResponseBuilder::new()
        .description("What went wrong, as RFC 9457 says.")
        .content(PROBLEM_JSON, ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build())
        .build()
}

fn add_problems(operation: &mut Operation, open: bool) {
    let core = ERROR_TABLE.iter().map(|row| row.status);
    let http = HTTP_ROWS.iter().map(|row| row.status.as_u16());
    for status in core.chain(http).filter(|status| !open || matches!(status, 400 | 500 | 503)) {
        operation
            .responses
            .responses
            .entry(status.to_string())
            .or_insert_with(|| RefOr::Ref(Ref::from_response_name("Problem")));
    }
}

/// The headers by which a change is made once, or only to what the caller knows.
fn add_headers(operation: &mut Operation, method: &Method) {
    let id = operation.operation_id.clone().unwrap_or_default();
    let streamed = takes_stream(operation);
    let mut add = |name: &str, description: &str| {
        let header = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        operation.parameters.get_or_insert_default().push(RefOr::T(header.build()));
    };
    if takes_if_match(&id) {
        add(IF_MATCH, "`ETag` of what is changed, or `*`: when it is another one by now, nothing is done (412).");
    }
    if takes_if_none_match(&id) {
        add(IF_NONE_MATCH, "`*`: when it is there already, nothing is done (412).");
    }
    if changes(method, &id) && !streamed {
        add(
            KEY_NAME,
            "1 to 255 visible ASCII characters: a request that comes again with it is answered as it was, and not done again.",
        );
    }
}

/// What no route took: 405 when the path has other methods, otherwise 404.
pub(crate) async fn no_route(req: HttpRequest) -> Answer {
    // A listener of a dialect's own has none of these paths.
    let is_dialect = req.app_data::<Door>().is_some_and(|door| door.own().is_some());
    match methods(req.path()).filter(|_| !is_dialect) {
        Some(methods) => Err(Problem::method_not_allowed(methods)),
        None => Err(roadstead_core::Error::not_found("route", req.path()).into()),
    }
}

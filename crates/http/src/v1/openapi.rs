//! The OpenAPI document, made from the routes themselves, and what is derived from it: which methods a path has.

use std::sync::OnceLock;

use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::{App as ActixApp, HttpRequest, HttpResponse, get};
use roadstead_core::ERROR_TABLE;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
};
use utoipa_actix_web::AppExt;

use crate::extract::{Nothing, Query};
use crate::problem::{Answer, Document, HTTP_ROWS, PROBLEM_JSON, Problem};

/// This document.
#[utoipa::path(tag = "documentation", operation_id = "openapi", responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value)))]
#[get("/openapi.json")]
pub(crate) async fn serve_document(_: Query<Nothing>) -> Answer {
    Ok(HttpResponse::Ok().json(openapi()))
}

/// The document of all routes.
#[must_use]
pub fn openapi() -> &'static OpenApi {
    static DOCUMENT: OnceLock<OpenApi> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
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
            ActixApp::new().into_utoipa_app().openapi(base).configure(super::routes).split_for_parts();
        complete(&mut document);
        document
    })
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
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten() {
            add_problems(operation, open);
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

/// The paths that there are, with their methods.
fn table() -> &'static [(ResourceDef, String)] {
    static TABLE: OnceLock<Vec<(ResourceDef, String)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let paths = openapi().paths.paths.iter().map(|(path, item)| {
            let methods = [
                (Method::GET, item.get.is_some()),
                (Method::HEAD, item.get.is_some()),
                (Method::PUT, item.put.is_some()),
                (Method::POST, item.post.is_some()),
                (Method::DELETE, item.delete.is_some()),
            ];
            let names: Vec<_> = methods.iter().filter(|(_, there)| *there).map(|(method, _)| method.as_str()).collect();
            (ResourceDef::new(path.as_str()), names.join(", "))
        });
        paths.collect()
    })
}

/// What no route took: 405 when the path has other methods, otherwise 404.
pub(crate) async fn no_route(req: HttpRequest) -> Answer {
    match table().iter().find(|(path, _)| path.is_match(req.path())) {
        Some((_, methods)) => Err(Problem::method_not_allowed(methods.clone())),
        None => Err(roadstead_core::Error::not_found("route", req.path()).into()),
    }
}

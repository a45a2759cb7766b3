//! A server that does nothing but send the same bytes: what no server on the same framework can be faster than.

use std::net::SocketAddr;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{App, HttpResponse, HttpServer, web};

/// Serves `body` until the process ends.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(address: SocketAddr, body: Vec<u8>) -> std::io::Result<()> {
    let body = web::Bytes::from(body);
    let server = HttpServer::new(move || {
        let body = body.clone();
        App::new().default_service(web::to(move || {
            let body = body.clone();
            async move {
                HttpResponse::Ok()
                    .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
                    .body(body)
            }
        }))
    });
    server.bind(address)?.run().await
}

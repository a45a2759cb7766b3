//! COPA's pages for browsers: the containers of all pools, the verbs, and the form for a new one.
//!
//! In COPA a link acts as soon as it is opened, so that whoever has a page with such a link in it opened by somebody else's browser acts,
//! too. Here a link shows what would be done with a button, and the button posts it.

mod pages;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, Resource, web};
use maud::Markup;

use super::answer::Refusal;
use super::container::{Known, list};
use super::form::Body;
use super::image::Images;
use super::verbs::{self, Start, Verb};
use super::{information, pool};
use crate::dialects::nodes;
use crate::nodes::NodeSlot;
use crate::state::App;
use pages::{Deed, Rows};

/// Its routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    const LIST: &str = "/core/containers_list";
    config
        .service(page("/core").route(web::get().to(index)))
        .service(page("/core/welcome").route(web::get().to(welcome)))
        .service(page(LIST).route(web::get().to(overview)))
        .service(page(&format!("{LIST}/new")).route(web::get().to(new)))
        .service(page(&format!("{LIST}/add")).route(web::get().to(new)).route(web::post().to(add)))
        .service(page(&format!("{LIST}/info/{{pool}}/{{container}}")).route(web::get().to(info)))
        .service(page(&format!("{LIST}/console/{{pool}}/{{container}}")).route(web::get().to(console)))
        .service(
            page(&format!("{LIST}/migrate/{{pool}}/{{container}}/{{destination}}"))
                .route(web::get().to(ask_migrate))
                .route(web::post().to(migrate)),
        )
        .service(
            page(&format!("{LIST}/{{verb}}/{{pool}}/{{container}}"))
                .route(web::get().to(ask))
                .route(web::post().to(act)),
        );
}

/// With and without the slash at its end, and 405 for what it does not have.
fn page(path: &str) -> Resource {
    web::resource([path.to_owned(), format!("{path}/")])
}

fn html(status: actix_web::http::StatusCode, page: Markup) -> HttpResponse {
    HttpResponse::build(status).content_type("text/html; charset=utf-8").body(page.into_string())
}

fn shown(page: Markup) -> HttpResponse {
    html(actix_web::http::StatusCode::OK, page)
}

/// How far up the pages begin, from a path that is so deep below the list.
fn up(req: &HttpRequest) -> String {
    let path = req.path();
    let below = path.find("/core").and_then(|start| path.get(start + 1..)).unwrap_or(path);
    "../".repeat(below.matches('/').count())
}

async fn index(req: HttpRequest) -> HttpResponse {
    let to = if req.path().ends_with('/') { "welcome/" } else { "core/welcome/" };
    HttpResponse::Found().insert_header((header::LOCATION, to)).finish()
}

async fn welcome(req: HttpRequest) -> HttpResponse {
    shown(pages::welcome(&up(&req)))
}

/// The list, with what came of something above it.
async fn listed(app: &App, req: &HttpRequest, alert: Option<&str>) -> HttpResponse {
    let ask = |slot: std::sync::Arc<NodeSlot>| async move {
        let containers = list(app, &slot, false).await.map_err(|refusal| refusal.text().to_owned());
        Rows { pool: slot.name().to_owned(), containers }
    };
    let rows = futures_util::future::join_all(nodes(app).into_iter().map(ask)).await;
    shown(pages::containers(&up(req), &rows, alert))
}

async fn overview(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    listed(&app, &req, None).await
}

/// The list with the words of success or the error above it.
async fn done(app: &App, req: &HttpRequest, done: Result<String, Refusal>) -> HttpResponse {
    match done {
        Ok(words) => listed(app, req, Some(&words)).await,
        Err(refusal) if refusal.status().is_success() => listed(app, req, Some(refusal.text())).await,
        Err(refusal) => html(refusal.status(), pages::refused(&up(req), refusal.text())),
    }
}

const fn words(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "Container started successful.",
        Verb::Stop => "Container stopped successful.",
        Verb::Delete => "Container deleted successfully.",
        Verb::Freeze => "Container frozen successful.",
        Verb::Unfreeze => "Container unfreeze successful",
    }
}

type Named = web::Path<(String, String, String)>;

async fn ask(app: web::Data<App>, req: HttpRequest, path: Named) -> HttpResponse {
    let (verb, pool, container) = path.into_inner();
    match (Verb::parse(&verb), Known::find(&app, &pool, &container).await) {
        (None, _) => html(actix_web::http::StatusCode::NOT_FOUND, pages::refused(&up(&req), "There is no such page.")),
        (_, Err(refusal)) => done(&app, &req, Err(refusal)).await,
        (Some(_), Ok(_)) => {
            shown(pages::confirm(&up(&req), &Deed { verb: &verb, container: &container, from: &pool, to: None }))
        }
    }
}

async fn act(app: web::Data<App>, req: HttpRequest, path: Named) -> HttpResponse {
    let (verb, pool, container) = path.into_inner();
    let Some(verb) = Verb::parse(&verb) else {
        return html(actix_web::http::StatusCode::NOT_FOUND, pages::refused(&up(&req), "There is no such page."));
    };
    let acted = async {
        let known = Known::find(&app, &pool, &container).await?;
        verbs::act(&app, &req, &known, verb).await?;
        Ok(words(verb).to_owned())
    };
    done(&app, &req, acted.await).await
}

async fn ask_migrate(app: web::Data<App>, req: HttpRequest, path: Named) -> HttpResponse {
    let (from, container, to) = path.into_inner();
    let looked = async { Ok::<_, Refusal>((Known::find(&app, &from, &container).await?, pool(&app, &to)?)) };
    match looked.await {
        Err(refusal) => done(&app, &req, Err(refusal)).await,
        Ok(_) => {
            let deed = Deed { verb: "migrate", container: &container, from: &from, to: Some(&to) };
            shown(pages::confirm(&up(&req), &deed))
        }
    }
}

async fn migrate(app: web::Data<App>, req: HttpRequest, path: Named) -> HttpResponse {
    let (from, container, to) = path.into_inner();
    let moved = async {
        let known = Known::find(&app, &from, &container).await?;
        let left = verbs::migrate(&app, &req, &known, &pool(&app, &to)?).await?;
        Ok(left.map_or_else(
            || "Container migration successful.".to_owned(),
            |left| format!("Container migration successful. {left}"),
        ))
    };
    done(&app, &req, moved.await).await
}

async fn info(app: web::Data<App>, req: HttpRequest, path: web::Path<(String, String)>) -> HttpResponse {
    let told = async {
        let known = Known::find(&app, &path.0, &path.1).await?;
        Ok::<_, Refusal>(information::told(&app, &known).await?.lenient())
    };
    match told.await {
        Ok(state) => shown(pages::information(&up(&req), &path.0, &path.1, &state)),
        Err(refusal) => done(&app, &req, Err(refusal)).await,
    }
}

async fn console(app: web::Data<App>, req: HttpRequest, path: web::Path<(String, String)>) -> HttpResponse {
    match Known::find(&app, &path.0, &path.1).await {
        Ok(known) => shown(pages::console(&up(&req), known.slot.name(), &known.summary.id)),
        Err(refusal) => done(&app, &req, Err(refusal)).await,
    }
}

async fn new(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    let pools: Vec<_> = nodes(&app).iter().map(|slot| slot.name().to_owned()).collect();
    match Images::offered(&app).await {
        Ok(images) => shown(pages::new(&up(&req), &pools, &images.told().into_keys().collect::<Vec<_>>())),
        Err(refusal) => done(&app, &req, Err(refusal)).await,
    }
}

/// The form's fields have the names that COPA's have; the profile is not looked at, as there.
async fn add(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    let made = async {
        let form = Body::read(&app, &req, &mut payload.into_inner()).await?.form()?;
        let [name, server, alias] = form.all(["name", "server", "image"])?;
        let slot = pool(&app, server)?;
        let image = Images::offered_for(&app, &slot).await?.aliased(alias)?.to_vec();
        let warning = verbs::create(&app, &req, &slot, name, alias, image, Start::Yes).await?;
        Ok(warning.unwrap_or_else(|| "Container created successfully.".to_owned()))
    };
    done(&app, &req, made.await).await
}

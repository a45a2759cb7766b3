//! The command API: one path, the verb in a JSON body, and one shape for every answer.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::answer::{Refusal, object};
use super::container::Known;
use super::form::Body;
use super::image::Images;
use super::verbs::{self, Start, Verb};
use super::{information, pool};
use crate::state::App;

/// What succeeded.
const DONE: &str = "Process successful";
/// Before every error.
const FAILED: &str = "COPA API error: ";

pub(super) async fn post(app: web::Data<App>, req: HttpRequest, payload: web::Payload) -> HttpResponse {
    match command(&app, &req, payload).await {
        Ok(Answered { result, lacking: None }) => object(&json!({ "code": 0, "message": DONE, "result": result })),
        Ok(Answered { result, lacking: Some(lacking) }) => {
            object(&json!({ "code": -1, "message": format!("{FAILED}{lacking}"), "result": result }))
        }
        Err(refusal) => HttpResponse::build(refusal.status())
            .json(json!({ "code": -1, "message": format!("{FAILED}{}", refusal.text()), "result": null })),
    }
}

/// A result, and what it lacks.
struct Answered {
    result: Value,
    lacking: Option<String>,
}

impl From<Value> for Answered {
    fn from(result: Value) -> Self {
        Answered { result, lacking: None }
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    let missing = || Refusal::new(format!("Parameter '{name}' must be a text"));
    members.get(name).and_then(Value::as_str).ok_or_else(missing)
}

async fn command(app: &web::Data<App>, req: &HttpRequest, payload: web::Payload) -> Result<Answered, Refusal> {
    let members = Body::read_object(app, req, &mut payload.into_inner()).await?;
    let operation = text(&members, "operation")?;
    let known = async || Known::find(app, text(&members, "container_pool")?, text(&members, "container_name")?).await;
    match operation {
        // Both run code on the server itself. Nobody needs them to drive containers.
        "copa_host_command" | "copa_module_execution" => Err(Refusal::new("operation disabled")),
        "information" => information::told(app, &known().await?).await?.strict().map(Answered::from),
        "command_execution" => {
            let words = |command: &Vec<Value>| command.iter().map(|word| word.as_str().map(str::to_owned)).collect();
            let command: Option<Vec<String>> = members.get("cmd").and_then(Value::as_array).and_then(words);
            let command = command.ok_or_else(|| Refusal::new("Parameter 'cmd' must be a list"))?;
            let ran = verbs::run(app, req, &known().await?, command).await?;
            let lacking = (ran.dropped_bytes > 0).then(|| {
                format!(
                    "the command has ended, but {} bytes of the beginning of its output are not kept",
                    ran.dropped_bytes
                )
            });
            Ok(Answered { result: json!([ran.exit_code, ran.stdout, ran.stderr]), lacking })
        }
        "migrate" => {
            let destination = pool(app, text(&members, "destination_pool")?)?;
            verbs::migrate(app, req, &known().await?, &destination).await.map(|_| Value::Null.into())
        }
        "create" => {
            let slot = pool(app, text(&members, "container_pool")?)?;
            let (name, fingerprint) = (text(&members, "container_name")?, text(&members, "image_type")?);
            let images = Images::offered_for(app, &slot).await?.beginning(fingerprint)?.to_vec();
            let reference = images.first().map(|image| image.id.clone()).unwrap_or_default();
            verbs::create(app, req, &slot, name, &reference, images, Start::No).await.map(|_| Value::Null.into())
        }
        "images_list" => {
            // The pool's own first: what is told is what `create` takes there.
            let slot = pool(app, text(&members, "container_pool")?)?;
            Ok(json!(Images::offered_for(app, &slot).await?.told()).into())
        }
        other => match Verb::parse(other) {
            Some(verb) => verbs::act(app, req, &known().await?, verb).await.map(|()| Value::Null.into()),
            None => Err(Refusal::new("Unknown operation")),
        },
    }
}

//! The small programs that images of the simulated engine hold.

use bytes::{BufMut, Bytes, BytesMut};

use super::run::{Context, duration};
use crate::memory::files::{Content, Entry};

/// Every program; the preset image has a file for each in `/bin`.
pub(in crate::memory) const NAMES: &[&str] = &[
    "sh", "ash", "[", "cat", "chmod", "chown", "echo", "env", "false", "hostname", "id", "ls", "mkdir", "nslookup",
    "ping", "printenv", "printf", "pwd", "rm", "sleep", "stty", "test", "touch", "true", "whoami",
];

pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Runs one program, and gives its exit code.
pub(super) async fn run(name: &str, arguments: &[String], context: &Context<'_>) -> i32 {
    let process = context.process;
    match name {
        "true" | ":" => 0,
        "false" => 1,
        "echo" => echo(arguments, context).await,
        "printf" => {
            let text = arguments.first().map_or("", String::as_str);
            context.print(printf(text, arguments.get(1..).unwrap_or_default())).await;
            0
        }
        "cat" => cat(arguments, context).await,
        "sleep" => match arguments.first().and_then(|text| duration(text)) {
            Some(duration) => {
                process.sleep(duration).await;
                0
            }
            None => context.fail("sleep", "invalid number", arguments.first().map_or("", String::as_str)).await,
        },
        "pwd" => line(context, &context.directory).await,
        "hostname" => line(context, &process.hostname).await,
        "whoami" => line(context, &process.user.name).await,
        "id" => match arguments.first().map(String::as_str) {
            Some("-u") => line(context, &process.user.uid.to_string()).await,
            Some("-g") => line(context, &process.user.gid.to_string()).await,
            _ => line(context, &format!("uid={} gid={}", process.user.uid, process.user.gid)).await,
        },
        "env" | "printenv" => environment(arguments, context).await,
        "test" => i32::from(!test(arguments, context)),
        "[" => match arguments.split_last() {
            Some((last, rest)) if last == "]" => i32::from(!test(rest, context)),
            _ => context.fail("[", "missing", "]").await,
        },
        "touch" | "mkdir" | "rm" | "chmod" | "chown" => files(name, arguments, context).await,
        "ls" => {
            let path = context.path(arguments.iter().find(|a| !a.starts_with('-')).map_or(".", String::as_str));
            if !process.view.exists(&path) {
                return context.fail("ls", &path, "No such file or directory").await;
            }
            for name in process.view.names(&path) {
                line(context, &name).await;
            }
            0
        }
        "stty" => match (arguments.first().map(String::as_str), process.terminal_size()) {
            (Some("size"), Some(size)) => line(context, &format!("{} {}", size.rows, size.columns)).await,
            (_, Some(_)) => 0,
            (_, None) => context.fail("stty", "standard input", "Not a tty").await,
        },
        "nslookup" => match arguments.first().map(|name| (name, process.resolve(name))) {
            Some((name, Some(address))) => line(context, &format!("Name:\t{name}\nAddress: {address}")).await,
            _ => context.fail("nslookup", "can't resolve", arguments.first().map_or("", String::as_str)).await,
        },
        "ping" => match arguments.last().map(|name| (name, process.resolve(name))) {
            Some((name, Some(address))) => line(context, &format!("64 bytes from {address} ({name})")).await,
            _ => context.fail("ping", arguments.last().map_or("", String::as_str), "bad address").await,
        },
        "sh" | "ash" => context.fail(name, "a shell inside of a shell", "is not simulated").await,
        name => {
            context.fail("sh", name, "not found").await;
            127
        }
    }
}

async fn line(context: &Context<'_>, text: &str) -> i32 {
    context.print(format!("{text}\n")).await;
    0
}

async fn echo(arguments: &[String], context: &Context<'_>) -> i32 {
    let (words, end) = match arguments.split_first() {
        Some((first, rest)) if first == "-n" => (rest, ""),
        _ => (arguments, "\n"),
    };
    context.print(format!("{}{end}", words.join(" "))).await;
    0
}

/// `printf` with `%s`, `%d`, `%%` and the escapes `\n`, `\t`, `\r`, `\\`, `\ooo`.
fn printf(format: &str, values: &[String]) -> Bytes {
    let mut out = BytesMut::new();
    let mut values = values.iter();
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek().copied()) {
            ('%', Some('s' | 'd')) => {
                rest.next();
                out.put_slice(values.next().map_or("", String::as_str).as_bytes());
            }
            ('%', Some('%')) => {
                rest.next();
                out.put_u8(b'%');
            }
            ('\\', Some(escape)) => {
                let plain = match escape {
                    'n' => Some(b'\n'),
                    't' => Some(b'\t'),
                    'r' => Some(b'\r'),
                    '\\' => Some(b'\\'),
                    _ => None,
                };
                if let Some(plain) = plain {
                    rest.next();
                    out.put_u8(plain);
                } else if escape.is_digit(8) {
                    let mut value = 0;
                    for _ in 0..3 {
                        let Some(digit) = rest.peek().and_then(|c| c.to_digit(8)) else { break };
                        value = value * 8 + digit;
                        rest.next();
                    }
                    out.put_u8(u8::try_from(value & 0xff).unwrap_or_default());
                } else {
                    out.put_u8(b'\\');
                }
            }
            (c, _) => out.put_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.freeze()
}

async fn cat(arguments: &[String], context: &Context<'_>) -> i32 {
    if arguments.is_empty() {
        if let Some(input) = &context.streams.input {
            context.print(input.clone()).await;
            return 0;
        }
        while let Some(data) = context.process.read().await {
            context.print(data).await;
        }
        return 0;
    }
    let mut status = 0;
    for path in arguments {
        match context.process.view.read(&context.path(path)) {
            Ok(data) => context.print(data).await,
            Err(error) => status = context.fail("cat", path, error).await,
        }
    }
    status
}

async fn environment(arguments: &[String], context: &Context<'_>) -> i32 {
    if arguments.is_empty() {
        for (name, value) in &context.env {
            line(context, &format!("{name}={value}")).await;
        }
        return 0;
    }
    let mut status = 0;
    for name in arguments {
        match context.env.get(name) {
            Some(value) => {
                line(context, value).await;
            }
            None => status = 1,
        }
    }
    status
}

fn test(arguments: &[String], context: &Context<'_>) -> bool {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["!", rest @ ..] => !test(&rest.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), context),
        ["-z", text] => text.is_empty(),
        ["-n", text] => !text.is_empty(),
        ["-e", path] => context.process.view.exists(&context.path(path)),
        [kind @ ("-f" | "-d"), path] => {
            context.process.view.stat(&context.path(path)).is_some_and(|entry| entry.is_directory() == (*kind == "-d"))
        }
        [left, "=", right] => left == right,
        [left, "!=", right] => left != right,
        [left, "-eq", right] => left.parse::<i64>().ok() == right.parse::<i64>().ok(),
        [text] => !text.is_empty(),
        _ => false,
    }
}

async fn files(tool: &str, arguments: &[String], context: &Context<'_>) -> i32 {
    let process = context.process;
    let mut arguments = arguments.iter().filter(|argument| !argument.starts_with('-'));
    let value = if tool == "chmod" || tool == "chown" { arguments.next().cloned() } else { None };
    let forgiving = tool == "rm";
    let mut status = 0;
    for path in arguments {
        let full = context.path(path);
        let done = match tool {
            "touch" => process.view.write(&full, b"", true, process.now()),
            "mkdir" => process.view.put(&full, Entry { modified: process.now(), ..Entry::directory() }),
            "rm" => process.view.remove(&full),
            "chmod" => match value.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok()) {
                Some(mode) => process.view.change(&full, |entry| entry.mode = mode),
                None => return context.fail(tool, path, "invalid mode").await,
            },
            _ if !process.may_chown => Err(crate::memory::files::FileError::NotPermitted),
            _ => match value.as_deref().and_then(|owner| owner.split(':').next()?.parse().ok()) {
                Some(uid) => process.view.change(&full, |entry| entry.uid = uid),
                None => return context.fail(tool, path, "unknown user").await,
            },
        };
        match done {
            Ok(()) => {}
            Err(crate::memory::files::FileError::NotFound) if forgiving => {}
            Err(error) => status = context.fail(tool, path, error).await,
        }
    }
    status
}

/// The content of the files in `/bin` of the preset image.
pub(in crate::memory) fn program_file(name: &str) -> Entry {
    let mut entry = Entry::file(Bytes::new(), 0o755);
    entry.content = Content::File(format!("#!simulated {name}\n").into());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printf_gives_bytes() {
        assert_eq!(printf("a%s\\n\\001\\377%%", &["b".to_owned()]).as_ref(), b"ab\n\x01\xff%");
    }
}

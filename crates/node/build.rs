//! Links the addon.

fn main() {
    napi_build::setup();
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        // Never unloaded: when the last worker thread that imported the addon ends, Node closes the library,
        // and our threads must not lose their code under their feet.
        println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
    }
}

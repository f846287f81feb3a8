//! Compiles the kernels: machine code for compute capability 8.0 and 9.0, and PTX for later ones, in one file.

use std::path::PathBuf;
use std::process::Command;

const SOURCES: [&str; 4] = ["kernels.cu", "attention.cuh", "rows.cuh", "device.cuh"];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed=kernels/{source}");
    }
    println!("cargo::rerun-if-env-changed=NVCC");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let nvcc = std::env::var("NVCC").unwrap_or_else(|_| "nvcc".into());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("kernels.fatbin");
    let mut command = Command::new(&nvcc);
    command.args(["-std=c++17", "-O3", "-fatbin", "-gencode", "arch=compute_80,code=sm_80"]);
    command.args(["-gencode", "arch=compute_90,code=[sm_90,compute_90]", "-o"]).arg(out).arg("kernels/kernels.cu");
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(_) => panic!("`{nvcc}` could not compile the kernels"),
        Err(e) => {
            panic!("`{nvcc}`: {e}. The feature 'cuda' needs CUDA's compiler: node scripts/build-cuda.mjs fetches it")
        }
    }
}

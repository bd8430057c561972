//! Makes the folder of the browser client's build if it is missing, so that the server builds without Node. The page
//! then says how to build the client.

fn main() {
    let dist = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("web/dist");
    std::fs::create_dir_all(&dist).expect("web/dist can be made");
    println!("cargo:rerun-if-changed=web/dist");
    println!("cargo:rerun-if-changed=build.rs");
}

//! Entry.
use clap::Parser;

#[derive(Parser)]
enum Cli {
    #[command(after_long_help = pointsman::demo::EXAMPLES)]
    DemoServer(pointsman::demo::Options),
}

fn main() -> std::io::Result<()> {
    let Cli::DemoServer(options) = Cli::parse();
    pointsman::demo::run(options)
}

//! Help in kubectl's style, the same for all plugins.

use std::fmt::Write as _;

use clap::builder::styling::Styles;
use clap::{Arg, ArgAction, ColorChoice, Command, value_parser};

/// Purpose and examples come first: they are what people look for.
const TEMPLATE: &str = "\
{before-help}{usage-heading}
  {usage}

{all-args}
";

/// The id of `--color`.
pub(crate) const COLOR: &str = "color";

/// The heading of the flags that every command has.
const GENERAL: &str = "General flags";

/// Gives a plugin's command line the suite's looks: one line of purpose, then examples, then usage,
/// then flags in groups. `name` is what people type, as in `kubectl mesh-authz`.
///
/// A command writes its examples in `#[command(before_help = "...")]`, as `# COMMENT` and command
/// lines without indentation.
#[must_use]
pub fn kubectl_style(command: Command, name: &'static str) -> Command {
    let styles = Styles::plain()
        .header(anstyle::Style::new().bold())
        .usage(anstyle::Style::new().bold())
        .error(anstyle::AnsiColor::Red.on_default());
    let color = Arg::new(COLOR)
        .long("color")
        .value_name("WHEN")
        .value_parser(value_parser!(ColorChoice))
        .default_value("auto")
        .global(true)
        .help_heading(GENERAL)
        .help("Colour the output; auto obeys NO_COLOR and colours only a terminal.");
    let version = Arg::new("version")
        .long("version")
        .action(ArgAction::Version)
        .help_heading(GENERAL)
        .help("Print the version.");
    // All plugins of the suite have the same version, and so has this crate.
    let command = command.bin_name(name).version(env!("CARGO_PKG_VERSION")).styles(styles);
    dress(command.name(name).arg(color).arg(version).disable_version_flag(true), name)
}

/// The command lines of a program in a page of documentation, as words without the program's name: lines of code, and
/// what stands between backticks. For tests that hold a page against what the program takes.
#[must_use]
pub fn command_lines(page: &str, name: &str) -> Vec<Vec<String>> {
    let code = page.lines().map(|line| line.trim().trim_start_matches("$ "));
    let inline = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let own = code.chain(inline).filter_map(|text| text.strip_prefix(name)?.strip_prefix(' '));
    own.map(words).collect()
}

/// Splits as a shell does, as far as examples go: quotes keep spaces, ` #` begins a remark.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for character in line.chars() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, ' ') => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            (None, '#') if word.is_empty() => return words,
            _ => word.push(character),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// Dresses a command, called as `path`, and its subcommands.
fn dress(command: Command, path: &str) -> Command {
    let help = Arg::new("help")
        .long("help")
        .short('h')
        // kubectl has one help, the short one.
        .action(ArgAction::HelpShort)
        .help_heading(GENERAL)
        .help("Print this help.");
    let has_commands = command.has_subcommands();
    let (usage, opening) = (usage(&command, path), opening(&command));
    command
        .override_usage(usage)
        .before_help(opening)
        .help_template(TEMPLATE)
        .disable_help_flag(true)
        // `kubectl help COMMAND` is a habit, too.
        .disable_help_subcommand(!has_commands)
        .mut_args(dress_argument)
        .arg(help)
        .mut_subcommands(|command| {
            let path = format!("{path} {}", command.get_name());
            dress(command, &path)
        })
}

/// Groups an argument, and gives its help back the period that clap takes from doc comments.
fn dress_argument(argument: Arg) -> Arg {
    let help = sentence(&argument.get_help().map(ToString::to_string).unwrap_or_default());
    let grouped = argument.is_positional() || argument.get_help_heading().is_some();
    if grouped { argument.help(help) } else { argument.help(help).help_heading("Flags") }
}

/// `kubectl mesh-authz who-can TARGET [flags]`.
fn usage(command: &Command, path: &str) -> String {
    let mut usage = path.to_owned();
    for argument in command.get_positionals() {
        let name = match argument.get_value_names() {
            Some(names) => names.join(" "),
            None => argument.get_id().as_str().to_uppercase(),
        };
        let more = if matches!(argument.get_action(), ArgAction::Append) { "..." } else { "" };
        let _ = match argument.is_required_set() {
            true => write!(usage, " {name}{more}"),
            false => write!(usage, " [{name}{more}]"),
        };
    }
    match (command.has_subcommands(), command.get_positionals().next().is_some()) {
        (true, false) => usage + " COMMAND [flags]",
        // The short form, and the long ones.
        (true, true) => usage + " [flags]\n  " + path + " COMMAND [flags]",
        (false, _) => usage + " [flags]",
    }
}

/// The purpose, and the examples under their heading.
fn opening(command: &Command) -> String {
    let purpose = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let mut opening = sentence(&purpose.unwrap_or_default());
    if let Some(examples) = command.get_before_help() {
        let heading = anstyle::Style::new().bold();
        let _ = write!(opening, "\n\n{heading}Examples:{heading:#}");
        for line in examples.to_string().trim().lines() {
            let indent = if line.is_empty() { "" } else { "  " };
            let _ = write!(opening, "\n{indent}{line}");
        }
    }
    opening
}

/// A text that ends as a sentence does.
fn sentence(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with(['.', '?', '!', ':']) { "" } else { "." };
    format!("{text}{end}")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[test]
    fn a_page_has_command_lines() {
        let page = "Say `kubectl x a` or\n\n    kubectl x b 'c d' -e   # why\n\n$ kubectl x f\nkubectl xy g";
        let lines = command_lines(page, "kubectl x");
        assert_eq!(lines, [vec!["b", "c d", "-e"], vec!["f"], vec!["a"]]);
    }

    /// Who can call a service in an Istio mesh, and why
    #[derive(Debug, Parser)]
    enum Authz {
        WhoCan(WhoCan),
    }

    /// List who can call a service.
    ///
    /// Rests on the policies alone.
    #[derive(Debug, clap::Args)]
    #[command(before_help = "
# Who can call payment
kubectl mesh-authz who-can payment

# The same, from manifests
kubectl mesh-authz who-can payment -f deploy/
")]
    struct WhoCan {
        /// What is called.
        #[arg(value_name = "TARGET")]
        _target: String,
        /// Only these callers.
        #[arg(value_name = "CALLER")]
        _callers: Vec<String>,
        /// Only this method.
        #[arg(long)]
        _method: Option<String>,
        /// Read from files.
        #[arg(short, long, help_heading = "Source flags")]
        _filename: Option<String>,
    }

    fn said(arguments: &[&str]) -> String {
        let mut command = kubectl_style(Authz::command(), "kubectl mesh-authz").term_width(100);
        let words = [&["kubectl-mesh_authz"], arguments].concat();
        command.try_get_matches_from_mut(words).unwrap_err().to_string()
    }

    #[test]
    fn examples_then_usage_then_groups() {
        assert_eq!(
            said(&["who-can", "-h"]),
            "\
List who can call a service.

Rests on the policies alone.

Examples:
  # Who can call payment
  kubectl mesh-authz who-can payment

  # The same, from manifests
  kubectl mesh-authz who-can payment -f deploy/

Usage:
  kubectl mesh-authz who-can TARGET [CALLER...] [flags]

Arguments:
  <TARGET>     What is called.
  [CALLER]...  Only these callers.

Flags:
      --method <METHOD>  Only this method.

Source flags:
  -f, --filename <FILENAME>  Read from files.

General flags:
      --color <WHEN>  Colour the output; auto obeys NO_COLOR and colours only a terminal. [default:
                      auto] [possible values: auto, always, never]
  -h, --help          Print this help.
"
        );
        assert_eq!(said(&["who-can", "--help"]), said(&["who-can", "-h"]));
    }

    #[test]
    fn the_plugin_lists_its_commands() {
        assert_eq!(
            said(&["--help"]).lines().take(7).collect::<Vec<_>>(),
            [
                "Who can call a service in an Istio mesh, and why.",
                "",
                "Usage:",
                "  kubectl mesh-authz COMMAND [flags]",
                "",
                "Commands:",
                "  who-can  List who can call a service",
            ]
        );
        assert_eq!(said(&["--version"]), concat!("kubectl mesh-authz ", env!("CARGO_PKG_VERSION"), "\n"));
    }

    #[test]
    fn usage_errors_say_what_to_type() {
        let said = said(&["who-can"]);
        assert!(said.contains("Usage: kubectl mesh-authz who-can TARGET [CALLER...] [flags]\n"), "{said}");
    }

    #[test]
    fn clap_finds_nothing_wrong() {
        kubectl_style(Authz::command(), "kubectl mesh-authz").debug_assert();
    }
}

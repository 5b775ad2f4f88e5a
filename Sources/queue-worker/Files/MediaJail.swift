import ChatCore
import Logging

/// The sandbox of a program that reads untrusted files: bubblewrap, when it is installed and the kernel allows
/// namespaces. Inside, a program has no network, no environment, no other process and no files but its own folder and
/// /usr.
enum MediaJail: Equatable {
    case none
    case bubblewrap
    /// It is required but does not work: no program runs at all.
    case broken

    /// - Parameter setting: MEDIA_JAIL: `auto`, `bwrap` or `none`.
    static func make(_ setting: String, log: Logger) -> MediaJail {
        guard setting != "none" else { return .none }
        let probe = MediaJail.bubblewrap.words(folder: "/usr", environment: ["PATH=/usr/bin:/bin"])!
        let limits = ["timeout", "-k", "2", "10"]
        if ChildProcess.output(of: limits + probe + ["true"], environment: ["PATH=/usr/bin:/bin"]) != nil {
            return .bubblewrap
        }
        guard setting == "auto" else {
            log.error("bubblewrap does not work here: MEDIA_JAIL=bwrap, so no file is inspected")
            return .broken
        }
        log.notice(
            """
            bubblewrap is not installed or may not make namespaces: programs that inspect files run with limits of \
            memory and time and an empty environment, but they can use the network
            """
        )
        return .none
    }

    /// The words before a program's own command line; nil: it must not run.
    ///
    /// - Parameters:
    ///   - folder: the only folder that it may write to.
    ///   - environment: its whole environment.
    func words(folder: String, environment: [String]) -> [String]? {
        switch self {
        case .none: return []
        case .broken: return nil
        case .bubblewrap:
            let readable = [
                "/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts",
            ]
            let variables = environment.flatMap { variable in
                let sides = variable.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return ["--setenv", String(sides[0]), sides.count > 1 ? String(sides[1]) : ""]
            }
            return ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
                + readable.flatMap { ["--ro-bind-try", $0, $0] }
                + ["--dev", "/dev", "--tmpfs", "/tmp", "--bind", folder, folder, "--chdir", "/"] + variables
        }
    }
}

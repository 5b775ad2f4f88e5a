import ArgumentParser
import ChatCore

struct PushCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", abstract: "Keys for push notifications.", subcommands: [Keys.self])

    struct Keys: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a pair of keys for Web Push and print it as two settings.",
            discussion: """
                Put both lines into the settings, with VAPID_SUBJECT (a mailto: or https: URL by which push services \
                reach you), and reload fcgi-api and queue-worker. Browsers get the public key by GET /api/v1/devices. \
                Nothing is stored here. A subscription belongs to the pair it was made with: after a change of the pair \
                every browser has to subscribe again.
                """)

        func run() {
            let keys = VAPIDKeys()
            print("VAPID_PUBLIC_KEY=\(keys.publicText)\nVAPID_PRIVATE_KEY=\(keys.privateText)")
        }
    }
}

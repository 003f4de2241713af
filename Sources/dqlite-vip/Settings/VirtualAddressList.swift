import Cluster
import Platform
import VIP

/// What is wrong with virtual addresses as a list, whoever gives it. Each by itself is checked as `VirtualAddress`.
struct VirtualAddressList: AddressRules {
    /// In words; nil when nothing is. An address that is none is no fault of the list.
    static func fault(_ texts: [String]) -> String? {
        if texts.count > mostAddresses {
            return "\(texts.count) virtual addresses are too many: a cluster has at most \(mostAddresses)"
        }
        var seen: [IPAddress: String] = [:]
        for text in texts {
            guard let address = try? VirtualAddress(parsing: text).address else { continue }
            if let before = seen.updateValue(text, forKey: address) {
                return before == text
                    ? "\"\(text)\" is given twice: leave one out"
                    : "\"\(before)\" and \"\(text)\" are the same address: leave one out"
            }
        }
        return nil
    }

    /// What comes by the cluster port was checked by the API of some node, which writes each address in one way only.
    func fault(in addresses: [String]) -> String? {
        for text in addresses {
            do throws(VirtualAddressError) {
                let address = try VirtualAddress(parsing: text)
                guard address.description == text else { return "\"\(address)\" was written in another way" }
            } catch {
                return error.description
            }
        }
        return Self.fault(addresses)
    }
}

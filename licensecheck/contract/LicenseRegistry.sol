// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {BlockHeader} from "@openzeppelin/contracts/utils/BlockHeader.sol";
import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// The registry's storage. It is a base contract of its own so that its variables come first from the
/// ERC-7201 root on: offline proofs compute slots from this order, which a golden test freezes.
abstract contract RegistryState {
    enum Status {
        None,
        Active,
        Suspended,
        Revoked
    }

    /// What a subject may do with a model. The first six fields share one slot, lowest bits first, and leave
    /// 40 bits spare. A grant is never deleted, so an empty slot proves that there never was one.
    struct Grant {
        uint40 notBefore; // Unix seconds, inclusive
        uint40 notAfter; // Unix seconds, exclusive
        uint32 scope; // bits as in the Go package policy
        uint32 plan; // 0: outside any plan, no limits
        Status status;
        uint64 seq; // number of writes so far
        bytes32 head; // keccak256(previous head, slot 1, controller): commits to every write so far
        address controller; // who answers for a host grant; 0 for all others
    }

    struct Model {
        address owner;
        bool active; // false stops sales only
        uint64 epoch; // counts transfers; issuers and signatures of earlier epochs are void
        address pendingOwner;
        uint32 plans;
        uint32 versions;
        uint32 commits;
    }

    /// Immutable once added, but for onSale.
    struct Plan {
        uint128 price; // in the token's smallest unit, per duration
        uint40 duration; // seconds
        uint32 scope;
        uint32 rpm; // requests per minute; 0: no limit
        bool onSale;
        address token; // 0: the chain's native coin
        uint64 tokensPerDay; // model tokens per UTC day; 0: no limit
    }

    /// A committed set of fingerprint candidates and the block whose prevrandao draws the responses.
    struct Commitment {
        bytes32 root;
        uint64 commitBlock;
        uint64 drawBlock;
        bytes32 randomness; // 0 until recordDraw
    }

    mapping(bytes32 modelId => mapping(bytes32 subject => Grant)) internal _grants;
    mapping(bytes32 modelId => Model) internal _models;
    mapping(bytes32 modelId => mapping(uint64 epoch => mapping(address => bool))) internal _issuers;
    mapping(bytes32 modelId => mapping(uint32 version => Plan)) internal _plans;
    mapping(bytes32 modelId => mapping(uint32 version => bytes32 manifestDigest)) internal _versions;
    mapping(bytes32 modelId => mapping(uint32 index => Commitment)) internal _commits;
}

/// @title LicenseRegistry: who may use which model, when, and for what.
/// @notice Nobody administers it and nobody can upgrade it. A model belongs to who registered it; licenses are
/// grants, bought under a plan or written by the owner and the issuers that the owner named.
contract LicenseRegistry is RegistryState, EIP712, ReentrancyGuardTransient layout at erc7201("fealty.LicenseRegistry") {
    using SafeERC20 for IERC20;

    /// The terms that an issuer writes.
    struct Terms {
        uint40 notBefore;
        uint40 notAfter;
        uint32 scope;
        uint32 plan; // 0: outside any plan
        address controller; // set exactly when scope has HOST
    }

    /// Terms signed by the owner or an issuer, for anyone to redeem.
    struct Voucher {
        bytes32 modelId;
        bytes32 subject;
        Terms terms;
        uint64 expectedSeq;
        uint64 epoch;
        uint40 deadline; // Unix seconds, inclusive
        address signer;
    }

    /// A wallet's consent that somebody else buys for it.
    struct Permit {
        bytes32 modelId;
        address subject;
        uint32 plan;
        uint128 price;
        address token;
        uint64 expectedSeq;
        uint40 deadline; // Unix seconds, inclusive
    }

    struct Query {
        bytes32 modelId;
        bytes32 subject;
    }

    /// One grant as stored (slot 1 packed), with the plan that it is under.
    struct GrantView {
        uint256 word;
        bytes32 head;
        address controller;
        Plan plan;
    }

    error NoModel();
    error ModelExists();
    error ModelInactive();
    error NotOwner();
    error NotIssuer();
    error NotPendingOwner();
    error NoPlan(uint32 plan);
    error PlanNotOnSale(uint32 plan);
    error PlanMismatch(uint32 current, uint32 wanted);
    error SamePlan(uint32 plan);
    error BadPlan();
    error TermsChanged(uint128 price, address token);
    error WrongPayment(uint256 sent, uint256 due);
    error BadVersion(uint32 next);
    error BadDigest();
    error BadWindow();
    error BadScope();
    error BadController();
    error BadSubject();
    error SeqMismatch(uint64 current, uint64 expected);
    error GrantSuspended();
    error GrantRevoked();
    error BadTransition(Status from);
    error EpochMismatch(uint64 current, uint64 signed);
    error SignatureExpired(uint40 deadline);
    error BadSignature();
    error NoCommitment(uint32 index);
    error DrawAlreadyRecorded();
    error WrongHeader(uint64 drawBlock);

    event ModelRegistered(bytes32 indexed modelId, address indexed creator, bytes32 salt);
    event ModelTransferStarted(bytes32 indexed modelId, address indexed from, address indexed to);
    event ModelTransferred(bytes32 indexed modelId, address indexed from, address indexed to, uint64 epoch);
    event ActiveSet(bytes32 indexed modelId, bool active);
    event IssuerSet(bytes32 indexed modelId, address indexed issuer, uint64 epoch, bool allowed);
    event VersionPublished(bytes32 indexed modelId, uint32 version, bytes32 manifestDigest);
    event KeysCommitted(bytes32 indexed modelId, uint32 index, bytes32 root, uint64 drawBlock);
    event DrawRecorded(bytes32 indexed modelId, uint32 index, bytes32 randomness);
    event PlanAdded(bytes32 indexed modelId, uint32 plan, Plan terms);
    event PlanOnSale(bytes32 indexed modelId, uint32 plan, bool onSale);
    event Purchased(
        bytes32 indexed modelId, bytes32 indexed subject, uint32 plan, address payer, address token, uint128 price
    );
    /// Every write to a grant. `word` is slot 1 after it, so a watcher needs no read to follow.
    event GrantChanged(
        bytes32 indexed modelId, bytes32 indexed subject, uint256 word, bytes32 head, address controller, address by
    );

    /// The scope bit of those who serve a model to others.
    uint32 public constant HOST = 1 << 8;

    bytes32 private constant TERMS_TYPEHASH =
        keccak256("Terms(uint40 notBefore,uint40 notAfter,uint32 scope,uint32 plan,address controller)");
    bytes32 private constant VOUCHER_TYPEHASH = keccak256(
        "Voucher(bytes32 modelId,bytes32 subject,Terms terms,uint64 expectedSeq,uint64 epoch,uint40 deadline,address signer)Terms(uint40 notBefore,uint40 notAfter,uint32 scope,uint32 plan,address controller)"
    );
    bytes32 private constant PERMIT_TYPEHASH = keccak256(
        "Permit(bytes32 modelId,address subject,uint32 plan,uint128 price,address token,uint64 expectedSeq,uint40 deadline)"
    );

    /// Blocks between a commitment and the block that draws. On Ethereum at least 128 (four epochs), so that
    /// nobody knows the drawing block's proposer when committing (EIP-4399).
    uint64 public immutable drawDelay;
    /// The block of deployment. Its hash tells apart two chains that repeat each other's addresses.
    uint64 public immutable deployedAt;

    constructor(uint64 drawDelay_) EIP712("fealty LicenseRegistry", "1") {
        require(drawDelay_ != 0, BadWindow());
        drawDelay = drawDelay_;
        deployedAt = uint64(block.number);
    }

    modifier onlyOwner(bytes32 modelId) {
        require(msg.sender == _models[modelId].owner, NotOwner());
        _;
    }

    modifier onlyIssuer(bytes32 modelId) {
        require(_mayIssue(modelId, msg.sender), NotIssuer());
        _;
    }

    // Models

    /// The id holds the caller, so that nobody can take a name that another is about to register.
    function registerModel(bytes32 salt) external returns (bytes32 modelId) {
        modelId = modelIdOf(msg.sender, salt);
        Model storage m = _models[modelId];
        require(m.owner == address(0), ModelExists());
        m.owner = msg.sender;
        m.active = true;
        emit ModelRegistered(modelId, msg.sender, salt);
    }

    function modelIdOf(address creator, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), creator, salt));
    }

    function transferModel(bytes32 modelId, address to) external onlyOwner(modelId) {
        _models[modelId].pendingOwner = to;
        emit ModelTransferStarted(modelId, msg.sender, to);
    }

    function acceptModel(bytes32 modelId) external {
        Model storage m = _models[modelId];
        require(msg.sender == m.pendingOwner, NotPendingOwner());
        address from = m.owner;
        m.owner = msg.sender;
        m.pendingOwner = address(0);
        ++m.epoch;
        emit ModelTransferred(modelId, from, msg.sender, m.epoch);
    }

    function setActive(bytes32 modelId, bool active) external onlyOwner(modelId) {
        _models[modelId].active = active;
        emit ActiveSet(modelId, active);
    }

    function setIssuer(bytes32 modelId, address issuer, bool allowed) external onlyOwner(modelId) {
        uint64 epoch = _models[modelId].epoch;
        _issuers[modelId][epoch][issuer] = allowed;
        emit IssuerSet(modelId, issuer, epoch, allowed);
    }

    /// Versions count from 1 without gaps; the caller names the one it means, so that two publishers notice.
    function publishVersion(bytes32 modelId, uint32 version, bytes32 manifestDigest) external onlyOwner(modelId) {
        Model storage m = _models[modelId];
        require(version == m.versions + 1, BadVersion(m.versions + 1));
        require(manifestDigest != 0, BadDigest());
        m.versions = version;
        _versions[modelId][version] = manifestDigest;
        emit VersionPublished(modelId, version, manifestDigest);
    }

    /// Append only: whoever commits many sets to pick a lucky draw leaves all of them on record.
    function commitKeys(bytes32 modelId, bytes32 root) external onlyOwner(modelId) returns (uint32 index) {
        require(root != 0, BadDigest());
        index = _models[modelId].commits++;
        uint64 drawBlock = uint64(block.number) + drawDelay;
        _commits[modelId][index] = Commitment(root, uint64(block.number), drawBlock, 0);
        emit KeysCommitted(modelId, index, root, drawBlock);
    }

    /// Stores what the draw block's header says, for proofs that must not depend on a second block. Anyone may
    /// call it while the chain still remembers the hash: 256 blocks, 8191 with EIP-2935.
    function recordDraw(bytes32 modelId, uint32 index, bytes calldata header) external {
        Commitment storage c = _commits[modelId][index];
        require(c.root != 0, NoCommitment(index));
        require(c.randomness == 0, DrawAlreadyRecorded());
        require(keccak256(header) == Blockhash.blockHash(c.drawBlock), WrongHeader(c.drawBlock));
        c.randomness = BlockHeader.getPrevRandao(header);
        emit DrawRecorded(modelId, index, c.randomness);
    }

    // Plans

    function addPlan(bytes32 modelId, Plan calldata terms) external onlyOwner(modelId) returns (uint32 plan) {
        require(terms.duration != 0 && terms.scope != 0, BadPlan());
        require(terms.scope & HOST == 0, BadScope()); // host grants are not for sale: they need a challenge
        plan = ++_models[modelId].plans;
        _plans[modelId][plan] = terms;
        emit PlanAdded(modelId, plan, terms);
    }

    function setOnSale(bytes32 modelId, uint32 plan, bool onSale) external onlyOwner(modelId) {
        require(_planExists(modelId, plan), NoPlan(plan));
        _plans[modelId][plan].onSale = onSale;
        emit PlanOnSale(modelId, plan, onSale);
    }

    // Buying

    /// Buys one duration for the sender, or extends what it holds under the same plan.
    function purchase(bytes32 modelId, uint32 plan, uint128 price, address token) external payable nonReentrant {
        _purchase(modelId, msg.sender, plan, price, token);
    }

    /// Buys for a wallet that signed its consent: a gift nobody asked for could change what a wallet holds.
    function purchaseFor(Permit calldata p, bytes calldata signature) external payable nonReentrant {
        _checkSignature(p.subject, p.deadline, _hashPermit(p), signature);
        _checkSeq(_grants[p.modelId][_subject(p.subject)], p.expectedSeq);
        _purchase(p.modelId, p.subject, p.plan, p.price, p.token);
    }

    /// Moves the sender to another plan, now. What was left of the old term is given up.
    function switchPlan(bytes32 modelId, uint32 plan, uint128 price, address token, uint64 expectedSeq)
        external
        payable
        nonReentrant
    {
        bytes32 subject = _subject(msg.sender);
        Grant storage g = _grants[modelId][subject];
        _checkSeq(g, expectedSeq);
        require(g.status == Status.Active, BadTransition(g.status));
        require(g.plan != plan, SamePlan(plan));
        Plan storage p = _forSale(modelId, plan, price, token);
        uint40 from = uint40(block.timestamp);
        _apply(g, Terms(from, from + p.duration, p.scope, plan, address(0)));
        _write(modelId, subject, g, Status.Active);
        _pay(modelId, subject, plan, p);
    }

    // Issuing

    function grant(bytes32 modelId, bytes32 subject, Terms calldata terms, uint64 expectedSeq)
        external
        onlyIssuer(modelId)
    {
        _grant(modelId, subject, terms, expectedSeq);
    }

    /// Writes the terms that the owner or an issuer signed. The sequence number makes a voucher single-use and
    /// kills it with any other write, a revocation above all.
    function redeem(Voucher calldata v, bytes calldata signature) external {
        uint64 epoch = _models[v.modelId].epoch;
        require(v.epoch == epoch, EpochMismatch(epoch, v.epoch));
        require(_mayIssue(v.modelId, v.signer), NotIssuer());
        _checkSignature(v.signer, v.deadline, _hashVoucher(v), signature);
        _grant(v.modelId, v.subject, v.terms, v.expectedSeq);
    }

    function suspend(bytes32 modelId, bytes32 subject, uint64 expectedSeq) external onlyIssuer(modelId) {
        Grant storage g = _grants[modelId][subject];
        _checkSeq(g, expectedSeq);
        require(g.status == Status.Active, BadTransition(g.status));
        _write(modelId, subject, g, Status.Suspended);
    }

    function revoke(bytes32 modelId, bytes32 subject, uint64 expectedSeq) external onlyIssuer(modelId) {
        Grant storage g = _grants[modelId][subject];
        _checkSeq(g, expectedSeq);
        require(g.status == Status.Active || g.status == Status.Suspended, BadTransition(g.status));
        _write(modelId, subject, g, Status.Revoked);
    }

    /// Issuers lift a suspension; a revocation only the owner does.
    function reinstate(bytes32 modelId, bytes32 subject, uint64 expectedSeq) external onlyIssuer(modelId) {
        Grant storage g = _grants[modelId][subject];
        _checkSeq(g, expectedSeq);
        require(g.status == Status.Suspended || g.status == Status.Revoked, BadTransition(g.status));
        require(g.status == Status.Suspended || msg.sender == _models[modelId].owner, NotOwner());
        _write(modelId, subject, g, Status.Active);
    }

    // Views

    /// Many grants in one call, with the block that they were read at. A block cannot know its own hash.
    function grants(Query[] calldata queries)
        external
        view
        returns (uint256 number, bytes32 parentHash, uint256 timestamp, GrantView[] memory views)
    {
        views = new GrantView[](queries.length);
        for (uint256 i = 0; i < queries.length; ++i) {
            bytes32 modelId = queries[i].modelId;
            Grant storage g = _grants[modelId][queries[i].subject];
            views[i] = GrantView(_word(g), g.head, g.controller, _plans[modelId][g.plan]);
        }
        return (block.number, blockhash(block.number - 1), block.timestamp, views);
    }

    function modelOf(bytes32 modelId) external view returns (Model memory) {
        return _models[modelId];
    }

    function isIssuer(bytes32 modelId, address who) external view returns (bool) {
        return _mayIssue(modelId, who);
    }

    function planOf(bytes32 modelId, uint32 version) external view returns (Plan memory) {
        return _plans[modelId][version];
    }

    function versionDigest(bytes32 modelId, uint32 version) external view returns (bytes32) {
        return _versions[modelId][version];
    }

    function latestVersion(bytes32 modelId) external view returns (uint32 version, bytes32 manifestDigest) {
        version = _models[modelId].versions;
        manifestDigest = _versions[modelId][version];
    }

    function commitment(bytes32 modelId, uint32 index) external view returns (Commitment memory) {
        return _commits[modelId][index];
    }

    // Rules

    function _purchase(bytes32 modelId, address buyer, uint32 planVersion, uint128 price, address token) private {
        bytes32 subject = _subject(buyer);
        Grant storage g = _grants[modelId][subject];
        _checkOpen(g);
        Plan storage p = _forSale(modelId, planVersion, price, token);
        if (block.timestamp < g.notAfter) {
            // An extension may not change terms that are already paid for.
            require(g.plan == planVersion && g.scope == p.scope, PlanMismatch(g.plan, planVersion));
            g.notAfter += p.duration;
        } else {
            uint40 from = uint40(block.timestamp);
            _apply(g, Terms(from, from + p.duration, p.scope, planVersion, address(0)));
        }
        _write(modelId, subject, g, Status.Active);
        _pay(modelId, subject, planVersion, p);
    }

    function _grant(bytes32 modelId, bytes32 subject, Terms calldata terms, uint64 expectedSeq) private {
        Grant storage g = _grants[modelId][subject];
        _checkSeq(g, expectedSeq);
        _checkOpen(g);
        _checkTerms(modelId, subject, terms);
        _apply(g, terms);
        _write(modelId, subject, g, Status.Active);
    }

    function _checkTerms(bytes32 modelId, bytes32 subject, Terms calldata terms) private view {
        require(subject != 0, BadSubject());
        require(terms.notBefore < terms.notAfter, BadWindow());
        require(terms.scope != 0, BadScope());
        require(terms.plan == 0 || _planExists(modelId, terms.plan), NoPlan(terms.plan));
        bool host = terms.scope & HOST != 0;
        require(!host || uint256(subject) >> 160 != 0, BadSubject()); // a wallet is no host
        require(host == (terms.controller != address(0)), BadController());
    }

    /// A revoked grant takes no new terms, nor does a suspended one whose clock still runs.
    function _checkOpen(Grant storage g) private view {
        require(g.status != Status.Revoked, GrantRevoked());
        require(g.status != Status.Suspended || block.timestamp >= g.notAfter, GrantSuspended());
    }

    function _checkSeq(Grant storage g, uint64 expected) private view {
        require(g.seq == expected, SeqMismatch(g.seq, expected));
    }

    function _forSale(bytes32 modelId, uint32 planVersion, uint128 price, address token)
        private
        view
        returns (Plan storage p)
    {
        require(_models[modelId].owner != address(0), NoModel());
        require(_models[modelId].active, ModelInactive());
        require(_planExists(modelId, planVersion), NoPlan(planVersion));
        p = _plans[modelId][planVersion];
        require(p.onSale, PlanNotOnSale(planVersion));
        require(p.price == price && p.token == token, TermsChanged(p.price, p.token));
    }

    function _apply(Grant storage g, Terms memory terms) private {
        g.notBefore = terms.notBefore;
        g.notAfter = terms.notAfter;
        g.scope = terms.scope;
        g.plan = terms.plan;
        g.controller = terms.controller;
    }

    /// The only way that a grant changes status, sequence number and history.
    function _write(bytes32 modelId, bytes32 subject, Grant storage g, Status status) private {
        g.status = status;
        ++g.seq;
        uint256 word = _word(g);
        g.head = keccak256(abi.encode(g.head, word, g.controller));
        emit GrantChanged(modelId, subject, word, g.head, g.controller, msg.sender);
    }

    /// Slot 1 as storage holds it.
    function _word(Grant storage g) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(g.slot)
        }
    }

    function _pay(bytes32 modelId, bytes32 subject, uint32 planVersion, Plan storage p) private {
        (uint128 price, address token) = (p.price, p.token);
        address payable owner = payable(_models[modelId].owner);
        uint256 due = token == address(0) ? price : 0;
        require(msg.value == due, WrongPayment(msg.value, due));
        emit Purchased(modelId, subject, planVersion, msg.sender, token, price);
        if (token != address(0)) {
            IERC20(token).safeTransferFrom(msg.sender, owner, price);
        } else if (price != 0) {
            Address.sendValue(owner, price);
        }
    }

    function _mayIssue(bytes32 modelId, address who) private view returns (bool) {
        Model storage m = _models[modelId];
        return m.owner != address(0) && (who == m.owner || _issuers[modelId][m.epoch][who]);
    }

    function _planExists(bytes32 modelId, uint32 planVersion) private view returns (bool) {
        return planVersion != 0 && planVersion <= _models[modelId].plans;
    }

    function _subject(address wallet) private pure returns (bytes32) {
        return bytes32(uint256(uint160(wallet)));
    }

    function _checkSignature(address signer, uint40 deadline, bytes32 structHash, bytes calldata signature)
        private
        view
    {
        require(block.timestamp <= deadline, SignatureExpired(deadline));
        bytes32 digest = _hashTypedDataV4(structHash);
        require(SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature), BadSignature());
    }

    function _hashVoucher(Voucher calldata v) private pure returns (bytes32) {
        bytes32 terms = keccak256(abi.encode(TERMS_TYPEHASH, v.terms));
        return keccak256(
            abi.encode(
                VOUCHER_TYPEHASH, v.modelId, v.subject, terms, v.expectedSeq, v.epoch, v.deadline, v.signer
            )
        );
    }

    function _hashPermit(Permit calldata p) private pure returns (bytes32) {
        return keccak256(abi.encode(PERMIT_TYPEHASH, p));
    }
}
